"""Uses every public name of Triton's module, and answers with what was not as it should be.

It calls the models `same` (scripted), `stream` (scripted, decoupled) and loads `later` (scripted).
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


def script(model, code, **options):
    tensor = pb_utils.Tensor("SCRIPT", np.array([code], dtype=object))
    return pb_utils.InferenceRequest(
        **{
            "model_name": model,
            "inputs": [tensor],
            "requested_output_names": ["RESULT"],
            **options,
        }
    )


def result(response):
    assert isinstance(response, pb_utils.InferenceResponse)
    assert not response.has_error(), response.error().message()
    tensor = pb_utils.get_output_tensor_by_name(response, "RESULT")
    return json.loads(tensor.as_numpy()[0])


def refusal(call):
    try:
        call()
    except pb_utils.TritonModelException as error:
        return str(error)
    return "no error"


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        assert isinstance(auto_complete_model_config, pb_utils.ModelConfig)
        before = auto_complete_model_config.as_dict()
        assert before["name"] == "names"
        auto_complete_model_config.set_max_batch_size(0)
        auto_complete_model_config.add_output(
            {"name": "ADDED", "data_type": "TYPE_STRING", "dims": [1]}
        )
        return auto_complete_model_config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        assert pb_utils.get_input_config_by_name(config, "IN")["data_type"] == "TYPE_FP32"
        assert pb_utils.get_output_config_by_name(config, "ADDED")["dims"] == [1]
        assert pb_utils.get_output_config_by_name(config, "NO") is None
        assert not pb_utils.using_decoupled_model_transaction_policy(config)
        assert Path(pb_utils.get_model_dir(), "model.py").is_file()
        kinds = pb_utils.MetricFamily
        self.families = [
            kinds(name="names_total", description="d", kind=kinds.COUNTER),
            kinds("names_level", "d", kinds.GAUGE),
            kinds("names_time", "d", kinds.HISTOGRAM),
        ]
        self.counter = self.families[0].Metric(labels={"a": "b"})
        self.gauge = self.families[1].Metric()
        self.time = self.families[2].Metric(labels=None, buckets=[0.1, 1.0])

    async def execute(self, requests):
        return [await self.answer(request) for request in requests]

    async def answer(self, request):
        faults = {
            name: found
            for name, found in {
                **self.of_tensors(pb_utils.get_input_tensor_by_name(request, "IN")),
                **self.of_the_request(request),
                **self.of_types(),
                **self.of_answers(),
                **self.of_the_log_and_metrics(),
                **await self.of_calls(request),
                **self.of_the_server(),
            }.items()
            if found is not True and found is not None
        }
        tensor = pb_utils.Tensor("OUT", np.array([json.dumps(faults, default=repr)], dtype=object))
        request.get_response_sender().send(
            pb_utils.InferenceResponse([tensor]), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        )
        request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)

    def of_tensors(self, tensor):
        array = tensor.as_numpy()
        return {
            "name": tensor.name() == "IN",
            "shape": tensor.shape() == list(array.shape),
            "is_cpu": tensor.is_cpu(),
            "dtype": tensor.triton_dtype() == pb_utils.numpy_to_triton_type(np.float32),
            "dlpack": bool((np.from_dlpack(tensor) == array).all()),
            "capsule": bool(
                (pb_utils.Tensor.from_dlpack("X", tensor.to_dlpack()).as_numpy() == array).all()
            ),
            "device": tensor.__dlpack_device__()[0] == 1,
            "empty": refusal(lambda: pb_utils.Tensor("", array))
            == "Tensor name cannot be an empty string.",
        }

    def of_the_request(self, request):
        found = {
            "missing": pb_utils.get_input_tensor_by_name(request, "MISSING") is None,
            "inputs": [one.name() for one in request.inputs()] == ["IN"],
            "id": request.request_id() == "the-id",
            "correlation": request.correlation_id() == 7,
            "timeout": request.timeout() == 5_000_000,
            "parameters": json.loads(request.parameters()) == {"mine": "yes"},
            "trace": request.trace().get_context() is None,
            "requested": list(request.requested_output_names()) == ["OUT"],
            "cancelled": request.is_cancelled() is False,
        }
        request.set_flags(pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
        return found | {
            "flags": request.flags() == 1,
            "other flags": (
                pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END,
                pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE,
            )
            == (2, 2),
        }

    def of_types(self):
        texts = np.array(["a", "é"], dtype=object)
        there = pb_utils.serialize_byte_tensor(texts)
        return {
            "to numpy": pb_utils.triton_to_numpy_type(11) == np.float32,
            "text to numpy": pb_utils.triton_string_to_numpy("TYPE_STRING") is np.object_,
            "table": pb_utils.TRITON_STRING_TO_NUMPY["TYPE_FP32"] == np.float32,
            "texts": pb_utils.deserialize_bytes_tensor(there).tolist() == [b"a", "é".encode()],
        }

    def of_answers(self):
        codes = "UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED ALREADY_EXISTS"
        error = pb_utils.TritonError("m", code=pb_utils.TritonError.CANCELLED)
        failed = pb_utils.InferenceResponse(output_tensors=[], error=error)
        told = pb_utils.InferenceResponse([], parameters={"a": 1, "b": True, "c": "x"})
        return {
            "codes": [int(getattr(pb_utils.TritonError, code)) for code in codes.split()]
            == list(range(7)),
            "error": failed.has_error() and failed.error().message() == "m",
            "code": failed.error().code() == pb_utils.TritonError.CANCELLED,
            "no error": told.error() is None and told.output_tensors() == [],
            "told": json.loads(told.parameters()) == {"a": 1, "b": True, "c": "x"},
            "memory": pb_utils.MemoryType.TRITONSERVER_MEMORY_CPU
            == pb_utils.TRITONSERVER_MEMORY_CPU,
        }

    def of_the_log_and_metrics(self):
        log = pb_utils.Logger
        log.log(message="names: plain", level=log.WARNING)
        for write in (log.log, log.log_info, log.log_warn, log.log_error, log.log_verbose):
            write("names: written")
        self.counter.increment(2)
        self.gauge.set(3)
        self.gauge.increment(-1)
        self.time.observe(0.5)
        return {
            "levels": log.LogLevel.ERROR == log.ERROR == pb_utils.LogLevel.ERROR,
            "metric": isinstance(self.gauge, pb_utils.Metric),
            "values": [self.counter.value() % 2, self.gauge.value()] == [0, 2],
        }

    async def of_calls(self, request):
        asked = script(
            "same",
            "return [request.request_id(), request.correlation_id(), request.timeout(),"
            " request.parameters()]",
            request_id="inner",
            correlation_id=9,
            model_version=1,
            timeout=1_000_000,
            flags=0,
            trace=request.trace(),
            parameters={"a": 1, "b": "c", "d": True},
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_GPU, 0),
        )
        seen = result(asked.exec())
        answers = script("stream", "yield 1\nyield 2").exec(decoupled=True)
        is_iterator = isinstance(answers, pb_utils.ResponseIterator)
        first = result(next(answers))
        answers.cancel()
        later = await script("same", "return 5").async_exec()
        streamed = await script("stream", "yield 6").async_exec(decoupled=True)
        return {
            "seen": seen[:3] == ["inner", 9, 1_000_000]
            and json.loads(seen[3]) == {"a": 1, "b": "c", "d": True},
            "stream": is_iterator and first == 1,
            "async": result(later) == 5 and result(next(streamed)) == 6,
            "trace": pb_utils.InferenceTrace().get_context() is None,
            "unknown": script("nope", "").exec().error().message()
            == "Failed for execute the inference request. Model 'nope' is not ready.",
            "correlation": refusal(lambda: script("same", "", correlation_id=1.5))
            == "Correlation ID must be integer or string",
            "text id": script("same", "", correlation_id="abc").correlation_id() == "abc",
            "sender": isinstance(request.get_response_sender(), pb_utils.InferenceResponseSender),
        }

    def of_the_server(self):
        before = pb_utils.is_model_ready(model_name="later", model_version="1")
        pb_utils.load_model(model_name="later")
        after = pb_utils.is_model_ready("later")
        pb_utils.unload_model("later", unload_dependents=False)
        return {"before": before is False, "after": after}
