"""One model that uses every public name of Triton's module, on a real server."""

import json
import re

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from mpserve.compat import triton_python_backend_utils as pb_utils
from tests.fixtures.repository import TEMPLATES
from tests.fixtures.scripted import DECOUPLED
from tests.fixtures.waiting import wait_until

OURS = {"answers_all", "answers_of_rows", "is_rescheduled", "sent_response"}
CODE = (TEMPLATES / "names" / "1" / "model.py").read_text()


def test_the_model_uses_every_name():
    assert set(pb_utils.__all__) - OURS <= set(re.findall(r"pb_utils\.(\w+)", CODE))


def test_every_name_does_what_it_should_over_both_wires(serve, repository):
    repository.add("names", "names")
    repository.add("scripted", "same")
    repository.add("scripted", "stream", config=DECOUPLED)
    repository.add("scripted", "later")
    models = [f"--load-model={name}" for name in ("names", "same", "stream")]
    server = serve(repository.path, flags=["--model-control-mode=explicit", *models])
    for clients, address in ((triton_http, server.address), (triton_grpc, server.grpc_address)):
        with clients.InferenceServerClient(address) as client:
            one = clients.InferInput("IN", [4], "FP32")
            one.set_data_from_numpy(np.arange(4, dtype=np.float32))
            answer = client.infer(
                "names",
                [one],
                request_id="the-id",
                sequence_id=7,
                timeout=5_000_000,
                outputs=[clients.InferRequestedOutput("OUT")],
                parameters={"mine": "yes"},
            )
        assert json.loads(answer.as_numpy("OUT")[0]) == {}
    expected = {'names_total{a="b"} 4', "names_level 2", "names_time_count 2"}
    wait_until(lambda: expected <= set(server.metrics().splitlines()), what="its metrics")
    wait_until(lambda: "names: plain" in server.log_text, what="its log")
