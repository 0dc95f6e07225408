"""Does what its input says: Python code of which the result is the answer, as JSON.

The code is the body of a function with `pb_utils`, `np`, `asyncio`, `threading`, `time`, `request`,
`model` (for what should last) and `call`, which lets another scripted model run code. A body that
yields answers a decoupled model several times. The configuration's parameter `initialize` is code
for that moment; what it returns is `model.initialized`.
"""

import asyncio
import json
import textwrap
import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils


def run(code, **names):
    scope = {
        "asyncio": asyncio,
        "call": call,
        "inner": inner,
        "np": np,
        "pb_utils": pb_utils,
        "result_of": result_of,
        "script": script,
        "threading": threading,
        "time": time,
        **names,
    }
    exec("def run():\n" + textwrap.indent(code, "    "), scope)
    return scope["run"]()


def script(code):
    return pb_utils.Tensor("SCRIPT", np.array([code], dtype=object))


def inner(model_name, code, **options):
    """Return a request to a scripted model."""
    return pb_utils.InferenceRequest(
        **{
            "model_name": model_name,
            "requested_output_names": ["RESULT"],
            "inputs": [script(code)],
            **options,
        }
    )


def result_of(response):
    """Return what a scripted model answered, or its error as `[code, message]`."""
    if response.has_error():
        error = response.error()
        return [error.code().name, error.message()]
    tensor = pb_utils.get_output_tensor_by_name(response, "RESULT")
    return json.loads(tensor.as_numpy()[0])


def call(model_name, code, **options):
    return result_of(inner(model_name, code, **options).exec())


def answer(result):
    if isinstance(result, pb_utils.InferenceResponse):
        return result
    text = np.array([json.dumps(result)], dtype=object)
    return pb_utils.InferenceResponse([pb_utils.Tensor("RESULT", text)])


class TritonPythonModel:
    def initialize(self, args):
        self.args = args
        config = json.loads(args["model_config"])
        self.is_decoupled = pb_utils.using_decoupled_model_transaction_policy(config)
        code = config["parameters"].get("initialize", {"string_value": "pass"})["string_value"]
        self.initialized = run(code, model=self)

    def execute(self, requests):
        results = [run(self._code(request), request=request, model=self) for request in requests]
        if not self.is_decoupled:
            return [
                None if pb_utils.is_rescheduled(request) and result is None else answer(result)
                for request, result in zip(requests, results, strict=True)
            ]
        for request, result in zip(requests, results, strict=True):
            sender = request.get_response_sender()
            for one in result:
                sender.send(answer(one))
            if not pb_utils.is_rescheduled(request):
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None

    def _code(self, request):
        tensor = pb_utils.get_input_tensor_by_name(request, "SCRIPT")
        return tensor.as_numpy()[0].decode()
