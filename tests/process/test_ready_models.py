"""Models that say themselves whether they are ready: `is_ready` of `model.py`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tritonclient.grpc as triton_grpc

from tests.fixtures.repository import Repository
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

EXPLICIT = ["--model-control-mode=explicit", "--load-model=*"]
FAILED = "Model 'moody_0_0' is not ready (user-defined check failed)."
REQUEST = {"inputs": [{"name": "X", "shape": [1], "datatype": "INT32", "data": [7]}]}


@pytest.fixture
def mood(tmp_path: Path) -> Path:
    file = tmp_path / "mood"
    file.write_text("good")
    return file


@pytest.fixture
def server(serve: Callable[..., Server], repository: Repository, mood: Path) -> Server:
    repository.add("moody", "moody")
    repository.add("adder", "adder")
    return serve(repository.path, flags=EXPLICIT, environment={"MOODY_FILE": str(mood)})


def readiness(server: Server) -> tuple[int, int]:
    """Return the statuses of the model's readiness and of the server's."""
    paths = ("/v2/models/moody/ready", "/v2/health/ready")
    model, whole = (server.get(path).status for path in paths)
    return model, whole


def wait_for_complaint(server: Server, text: str) -> None:
    def complains() -> bool:
        rows = {row["name"]: row.get("reason", "") for row in server.index()}
        answer = server.get("/v2/models/moody/ready")
        return answer.status == 400 and rows["moody"].startswith(text)

    wait_until(complains, what=f"the model to say: {text}")


def test_row_150_a_model_that_says_so_is_not_ready_and_neither_is_the_server(server, mood):
    assert readiness(server) == (200, 200)
    mood.write_text("bad")
    wait_for_complaint(server, FAILED)
    assert readiness(server) == (400, 400)
    assert server.get("/v2/models/moody/ready").json() == {"error": "Model version not ready"}
    with triton_grpc.InferenceServerClient(server.grpc_address) as client:
        assert not client.is_model_ready("moody")
        assert not client.is_server_ready()
        assert client.is_model_ready("adder")
    rows = {row["name"]: row for row in server.index()}
    assert (rows["moody"]["state"], rows["moody"]["reason"]) == ("READY", FAILED)
    assert server.infer("moody", REQUEST).status == 200  # who knows may ask it
    assert "worker.complains" in server.log_text
    mood.write_text("good")
    wait_until(lambda: readiness(server) == (200, 200), what="the model to be ready again")
    assert "worker.recovered" in server.log_text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("word", "Model 'moody_0_0' is not ready: is_ready() must return a boolean value"),
        ("angry", "Model 'moody_0_0' is not ready: RuntimeError: do not ask"),
        ("slow", "Model 'moody_0_0' is not ready: is_ready() has not answered within 5 seconds"),
    ],
)
def test_what_is_no_answer_is_a_no(server, mood, said, text):
    mood.write_text(said)
    wait_for_complaint(server, text)


def test_a_model_that_is_not_ready_at_first_was_never_told_to_be(serve, repository, mood):
    repository.add("moody", "moody")
    mood.write_text("bad")
    flags = ["--model-control-mode=explicit"]
    server = serve(repository.path, flags=flags, environment={"MOODY_FILE": str(mood)})
    assert server.load("moody").status == 200
    assert readiness(server) == (400, 400)


def test_the_next_supervisor_knows_it_too(server, mood):
    mood.write_text("bad")
    wait_for_complaint(server, FAILED)
    server.process_named("mps supervisor").kill()
    wait_until(lambda: "supervisor.took_over" in server.log_text, what="the next supervisor")
    assert readiness(server) == (400, 400)
    mood.write_text("good")
    wait_until(lambda: readiness(server) == (200, 200), what="the model to be ready again")


def test_a_worker_that_is_replaced_begins_anew(server, mood):
    mood.write_text("bad")
    wait_for_complaint(server, FAILED)
    mood.write_text("good")
    server.processes_named("mps:moody")[0].kill()
    wait_until(lambda: readiness(server) == (200, 200), what="the model to be ready again")
