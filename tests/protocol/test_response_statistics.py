"""Statistics of the responses of a decoupled model, one by one."""

from textwrap import dedent

import pytest
from tritonclient.grpc import InferenceServerClient

from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import tensors, write_triton

STREAM = dedent(
    """
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                count = int(pb_utils.get_input_tensor_by_name(request, "N").as_numpy()[0])
                sender = request.get_response_sender()
                for number in range(abs(count)):
                    out = pb_utils.Tensor("OUT", np.array([number], np.int32))
                    sender.send(pb_utils.InferenceResponse([out]))
                if count < 0:
                    error = pb_utils.TritonError("no more")
                    sender.send(pb_utils.InferenceResponse(error=error))
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    """
)


@pytest.fixture
def server(tmp_path):
    write_triton(
        tmp_path / "models" / "stream",
        source=STREAM,
        config="model_transaction_policy { decoupled: true }"
        + tensors("input", ("N", "TYPE_INT32", [1]))
        + tensors("output", ("OUT", "TYPE_INT32", [1])),
    )
    with Server.serve(
        tmp_path / "models", flags=["--model-control-mode=explicit", "--load-model=*"],
        log_path=tmp_path / "log",
    ) as running:  # fmt: skip
        yield running


def responses(server: Server) -> dict[str, dict]:
    (one,) = server.get("/v2/models/stream/stats").json()["model_stats"]
    return one["response_stats"]


def counts(server: Server) -> dict[str, dict[str, int]]:
    return {
        number: {name: part["count"] for name, part in parts.items() if part["count"]}
        for number, parts in responses(server).items()
    }


def ok(count: int) -> dict[str, int]:
    return dict.fromkeys(("compute_infer", "compute_output", "success"), count)


def test_responses_are_counted_by_their_number(server):
    server.post("/v2/models/stream/generate_stream", {"N": 2})
    wait_until(lambda: len(counts(server)) == 3)
    assert counts(server) == {"0": ok(1), "1": ok(1), "2": {"empty_response": 1}}
    assert list(responses(server)["0"]) == [
        "compute_infer", "compute_output", "success", "fail", "empty_response", "cancel",
    ]  # fmt: skip
    first = responses(server)["0"]
    assert (
        first["success"]["ns"] >= first["compute_infer"]["ns"] + first["compute_output"]["ns"] > 0
    )
    server.post("/v2/models/stream/generate_stream", {"N": -1})
    wait_until(lambda: counts(server)["2"].get("empty_response") == 2)
    assert counts(server) == {
        "0": ok(2),
        "1": {**ok(1), "fail": 1},
        "2": {"empty_response": 2},
    }
    for _ in range(2):
        server.post("/v2/models/stream/generate_stream", {"N": 100})
    wait_until(lambda: sum(row.get("success", 0) for row in counts(server).values()) == 203)
    assert sum(row.get("empty_response", 0) for row in counts(server).values()) == 4
    assert len(counts(server)) <= 64


def test_grpc_tells_the_same(server):
    server.post("/v2/models/stream/generate_stream", {"N": 1})
    wait_until(lambda: len(counts(server)) == 2, what="the response to be counted")
    with InferenceServerClient(server.grpc_address) as client:
        (one,) = client.get_inference_statistics("stream", as_json=True)["model_stats"]
    told = {
        number: int(row["success"].get("count", 0)) for number, row in one["response_stats"].items()
    }
    assert told["0"] == counts(server)["0"]["success"]
