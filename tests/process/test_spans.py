"""Traces as spans: what a collector gets, and whose trace they belong to."""

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from tests.fixtures.collector import Collector
from tests.fixtures.ensembles import add_ensemble, adding, request
from tests.fixtures.waiting import wait_until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
CONTEXT = {"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01"}
CALLER = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            context = json.loads(request.trace().get_context())
            tensor = pb_utils.Tensor("IN", np.array([1], dtype=np.float32))
            pb_utils.InferenceRequest(
                model_name="first", requested_output_names=["OUT"], inputs=[tensor],
                trace=request.trace(),
            ).exec()
            pb_utils.Logger.log_info("context " + context["traceparent"])
            out = pb_utils.Tensor("OUT", np.zeros(1, np.float32))
            answers.append(pb_utils.InferenceResponse([out]))
        return answers
"""


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def traced(serve, repository, collector):
    def start(*settings: str):
        repository.add("adder", "first")
        repository.add("adder", "second")
        add_ensemble(repository, "chain", adding("first", "X", "T"), adding("second", "T", "Y"))
        repository.add("adder", "caller")
        repository.write("caller/1/model.py", CALLER)
        given = ["mode=opentelemetry", "level=TIMESTAMPS", f"opentelemetry,url={collector.url}",
                 "opentelemetry,bsp_schedule_delay=50", "opentelemetry,resource=service.name=zoo",
                 *settings]  # fmt: skip
        return serve(repository.path, flags=[f"--trace-config={one}" for one in given])

    return start


def infer(server, model="first", headers=None):
    tensor = "X" if model == "chain" else "IN"
    answer = server.request(
        "POST", f"/v2/models/{model}/infer", request(1.0, tensor), headers or {}
    )
    assert answer.status == 200, answer.body


def arrived(collector, count):
    wait_until(lambda: len(collector.spans) == count)
    return {span.name: span for span in collector.spans}


def test_a_request_is_three_spans_one_within_the_other(traced, collector):
    infer(traced("rate=1"))
    spans = arrived(collector, 3)
    root, model, compute = spans["InferRequest"], spans["first"], spans["compute"]
    assert [root.parent_id, model.parent_id, compute.parent_id] == ["", root.span_id, model.span_id]
    assert len({root.trace_id, model.trace_id, compute.trace_id}) == 1
    assert root.start_ns <= model.start_ns <= compute.start_ns < compute.end_ns
    assert compute.end_ns <= model.end_ns <= root.end_ns
    assert root.events == ["HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END"]
    assert compute.events == [
        "COMPUTE_START",
        "COMPUTE_INPUT_END",
        "COMPUTE_OUTPUT_START",
        "COMPUTE_END",
    ]
    assert model.attributes == {
        "triton.model_name": "first",
        "triton.model_version": 1,
        "triton.trace_id": 1,
        "triton.trace_parent_id": 0,
    }
    assert root.resource["service.name"] == "zoo"


def test_who_brings_a_context_is_traced_whatever_the_rate_says(traced, collector):
    server = traced("rate=0")
    infer(server)
    infer(server, headers=CONTEXT)
    with InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        tensor = InferInput("IN", [1], "FP32")
        tensor.set_data_from_numpy(np.ones(1, np.float32))
        client.infer("first", [tensor], headers=CONTEXT)
        client.infer("first", [tensor])
    arrived(collector, 6)
    roots = sorted(collector.named("InferRequest"), key=lambda span: span.start_ns)
    assert [(root.trace_id, root.parent_id) for root in roots] == [(TRACE_ID, CLIENT_SPAN)] * 2
    assert [root.events[0] for root in roots] == ["HTTP_RECV_START", "GRPC_WAITREAD_START"]


def test_the_context_goes_on_to_steps_and_to_what_models_ask(traced, collector):
    server = traced("rate=0")
    infer(server, "chain", CONTEXT)
    spans = arrived(collector, 6)
    chain = spans["chain"]
    assert spans["first"].parent_id == spans["second"].parent_id == chain.span_id
    collector.spans.clear()
    infer(server, "caller", CONTEXT)
    server.stop()  # what waits in the worker goes out
    spans = arrived(collector, 5)
    assert spans["first"].parent_id == spans["caller"].span_id
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert f"context 00-{TRACE_ID}-{spans['caller'].span_id}-01" in server.log_text


def test_settings_tell_the_exporter(traced, collector):
    told = traced("rate=7").get("/v2/trace/setting").json()
    assert told == {
        "trace_level": ["TIMESTAMPS"],
        "trace_rate": "7",
        "trace_count": "-1",
        "url": collector.url,
        "bsp_max_queue_size": "2048",
        "bsp_schedule_delay": "50",
        "bsp_max_export_batch_size": "512",
        "resource": "service.name=zoo",
        "trace_mode": "opentelemetry",
    }


def test_a_collector_that_is_away_costs_no_request(serve, repository):
    repository.add("adder", "first")
    settings = ["mode=opentelemetry", "level=TIMESTAMPS", "rate=1",
                "opentelemetry,url=http://127.0.0.1:9/v1/traces"]  # fmt: skip
    server = serve(repository.path, flags=[f"--trace-config={one}" for one in settings])
    for _ in range(20):
        infer(server)
