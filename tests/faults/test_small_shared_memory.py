"""A small `/dev/shm`, as in a container: the defaults work, and what does not fit is refused."""

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.own_shared_memory import skip_without_namespaces, with_shared_memory
from tests.fixtures.scripted import run_script
from tests.fixtures.teller import tell, teller_bytes

MEBIBYTE = 1 << 20
FULL = "Failed to increase the shared memory pool size"  # Triton's words
EXPLICIT = ["--model-control-mode=explicit", "--load-model=*"]


@pytest.fixture(autouse=True)
def needs_namespaces():
    skip_without_namespaces()


def identity(elements: int) -> bytes:
    values = b"0.5," * (elements - 1)
    head = b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[%d],' % elements
    return head + b'"data":[%b0.5]}]}' % values


def test_the_defaults_serve_several_models_in_64_mebibytes(serve, repository):
    names = [f"m{index}" for index in range(8)]
    for name in names:
        repository.add("teller", name)
    server = serve(
        repository.path,
        flags=[*EXPLICIT, "--frontends=2"],
        prefix=with_shared_memory("size=64m"),
    )
    with ClosedLoop(server, teller_bytes("m0"), clients=16) as load:
        load.wait_answered(by_each=20)
    assert load.failed == []
    assert {tell(server, name).version for name in names} == {1}


def test_a_tensor_that_does_not_fit_is_refused_and_the_next_is_served(serve, repository):
    repository.add("identity", "m")
    server = serve(repository.path, flags=EXPLICIT, prefix=with_shared_memory("size=16m"))
    large = identity(5 * MEBIBYTE)
    for _ in range(3):
        answer = server.post("/v2/models/m/infer", large)
        assert answer.status == 503, answer.body[:200]
        assert answer.json()["error"].startswith(FULL)
        assert server.post("/v2/models/m/infer", identity(4)).status == 200


@pytest.mark.parametrize("mebibytes", [64, 14], ids=["request", "answer"])
def test_a_model_that_asks_with_too_much_is_told_so_in_tritons_words(serve, repository, mebibytes):
    repository.add("identity", "m")
    repository.add("scripted", "caller")
    server = serve(repository.path, flags=EXPLICIT, prefix=with_shared_memory("size=24m"))
    ask = f"""
    tensor = pb_utils.Tensor("INPUT0", np.zeros({mebibytes} << 18, dtype=np.float32))
    request = pb_utils.InferenceRequest(
        model_name="m", inputs=[tensor], requested_output_names=["OUTPUT0"])
    error = request.exec().error()
    return error and [error.message(), error.code().name]
    """
    message, code = run_script(server, "caller", ask)
    assert f"{FULL} for key 'arena'" in message
    assert code == "UNAVAILABLE"
    assert run_script(server, "caller", ask.replace(f"{mebibytes} <<", "1 <<")) is None


def test_a_model_whose_queue_does_not_fit_fails_to_load_with_the_reason(serve, repository):
    repository.add("teller", "m")
    server = serve(
        repository.path,
        flags=["--model-control-mode=explicit", "--queue-slots=60000"],
        prefix=with_shared_memory("size=4m"),
    )
    answer = server.load("m")
    assert answer.status == 400
    assert "/dev/shm" in answer.json()["error"]
    assert server.get("/v2/health/live").status == 200


def test_a_start_without_room_ends_with_the_reason(serve, repository):
    server = serve(repository.path, prefix=with_shared_memory("size=64k"), wait_ready=False)
    assert server.wait_exit() == 1
    server.expected_exit_code = None
    assert "/dev/shm" in server.log_text
    assert "Traceback" not in server.log_text
