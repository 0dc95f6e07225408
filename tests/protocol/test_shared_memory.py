"""System shared memory with the real client's utilities: rows 105 to 109, and what can go wrong."""

import os
import uuid
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as client_memory
from tritonclient.utils import InferenceServerException

from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import tensors, triton_repository, write_triton

OWN = f"wire_{uuid.uuid4().hex[:12]}"  # names of this run: another may go on beside it
KEY = f"/{OWN}_test"
OTHER_KEY = f"/{OWN}_other"
ROOM = 4096
FOUR = np.array([[1, 2, 3, 4]], dtype=np.float32)
MODULES = {"http": triton_http, "grpc": triton_grpc}
WAITING = dedent(
    """
    import os
    import time
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                given = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                folder = os.path.dirname(os.path.abspath(__file__))
                open(os.path.join(folder, "began"), "w").close()
                while not os.path.exists(os.path.join(folder, "go")):
                    time.sleep(0.01)
                out = pb_utils.Tensor("OUT", given * 2)
                responses.append(pb_utils.InferenceResponse([out]))
            return responses
    """
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = triton_repository(tmp_path_factory.mktemp("shared") / "models")
    write_triton(
        root / "waiting",
        source=WAITING,
        config=tensors("input", ("IN", "TYPE_FP32", [-1]))
        + tensors("output", ("OUT", "TYPE_FP32", [-1])),
    )
    pair = root / "through"
    (pair / "1").mkdir(parents=True)
    (pair / "config.pbtxt").write_text(
        'platform: "ensemble" max_batch_size: 8\n'
        + tensors("input", ("X", "TYPE_FP32", [4]))
        + tensors("output", ("Y", "TYPE_FP32", [4]))
        + """ensemble_scheduling { step [{ model_name: "m" model_version: -1
             input_map { key: "INPUT0" value: "X" } output_map { key: "OUTPUT0" value: "Y" } }] }"""
    )
    outer = root / "waiting_through"
    (outer / "1").mkdir(parents=True)
    (outer / "config.pbtxt").write_text(
        'platform: "ensemble"\n'
        + tensors("input", ("IN", "TYPE_FP32", [-1]))
        + tensors("output", ("OUT", "TYPE_FP32", [-1]))
        + """ensemble_scheduling { step [{ model_name: "waiting" model_version: -1
             input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" } }] }"""
    )
    return root


@pytest.fixture(scope="module")
def server(nothing_is_left_behind: None, repository: Path) -> Iterator[Server]:
    """Two frontends: what one is told, the other must know."""
    with Server.serve(
        repository,
        flags=["--allow-client-shm=true", "--frontends=2"],
        log_path=repository.parent / "log",
    ) as one:
        yield one


@pytest.fixture(params=["http", "grpc"])
def wire(request, server) -> Iterator:
    """Client and module of one wire."""
    module = MODULES[request.param]
    address = server.address if request.param == "http" else server.grpc_address
    with module.InferenceServerClient(address) as client:
        yield client, module
        client.unregister_system_shared_memory()


@pytest.fixture
def memory() -> Iterator:
    handle = client_memory.create_shared_memory_region("mine", KEY, ROOM)
    yield handle
    client_memory.destroy_shared_memory_region(handle)


def in_region(
    module, name="INPUT0", *, region="mine", shape=(1, 4), size=16, offset=0, word="FP32"
):
    tensor = module.InferInput(name, list(shape), word)
    tensor.set_shared_memory(region, size, offset)
    return tensor


def into_region(module, name="OUTPUT0", *, region="mine", size=16, offset=0):
    output = module.InferRequestedOutput(name)
    output.set_shared_memory(region, size, offset)
    return output


def links(server) -> list[str]:
    """Return the server's own names of registered memory."""
    return [name for name in server.segments() if "-region." in name]


def refusal(call, *arguments, **named):
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **named)
    return caught.value.message()


def rows(client) -> list:
    found = client.get_system_shared_memory_status()
    if isinstance(found, list):
        return [tuple(one.values()) for one in found]
    return [(one.name, one.key, one.offset, one.byte_size) for one in found.regions.values()]


def test_row_104_register_status_unregister(wire, memory):
    client, _ = wire
    assert rows(client) == []
    client.register_system_shared_memory("mine", KEY, ROOM)
    client.register_system_shared_memory("part", KEY, 100, offset=64)
    assert sorted(rows(client)) == [
        ("mine", KEY, 0, ROOM), ("part", KEY, 64, 100),
    ]  # fmt: skip
    assert "already in manager" in refusal(client.register_system_shared_memory, "mine", KEY, ROOM)
    client.unregister_system_shared_memory("mine")
    client.unregister_system_shared_memory("never there")
    assert rows(client) == [("part", KEY, 64, 100)]
    client.register_system_shared_memory("mine", KEY, ROOM)
    client.unregister_system_shared_memory()
    assert rows(client) == []


def test_inputs_and_outputs_in_one_region(wire, memory):
    client, module = wire
    client_memory.set_shared_memory_region(memory, [FOUR])
    client.register_system_shared_memory("mine", KEY, ROOM)
    for _ in range(8):  # over connections of the pool: both frontends know
        answer = client.infer("m", [in_region(module)], outputs=[into_region(module, offset=1024)])
        told = answer.get_output("OUTPUT0")
        shape = told["shape"] if isinstance(told, dict) else list(told.shape)
        assert shape == [1, 4]
        assert client_memory.get_contents_as_numpy(
            memory, np.float32, [4], offset=1024
        ).tolist() == [1, 2, 3, 4]


def test_only_inputs_or_only_outputs_may_lie_in_regions(wire, memory):
    client, module = wire
    client_memory.set_shared_memory_region(memory, [FOUR])
    client.register_system_shared_memory("mine", KEY, ROOM)
    answer = client.infer("m", [in_region(module)])
    assert answer.as_numpy("OUTPUT0").tolist() == FOUR.tolist()
    plain = module.InferInput("INPUT0", [1, 4], "FP32")
    plain.set_data_from_numpy(FOUR + 1)
    client.infer("m", [plain], outputs=[into_region(module, offset=512, size=64)])
    found = client_memory.get_contents_as_numpy(memory, np.float32, [4], offset=512)
    assert found.tolist() == [2, 3, 4, 5]


def test_an_output_may_lie_on_an_input(wire, memory):
    client, module = wire
    client_memory.set_shared_memory_region(memory, [np.arange(8, dtype=np.int32)])
    client.register_system_shared_memory("mine", KEY, ROOM)
    one = in_region(module, "IN_INT32", shape=(6,), size=24, word="INT32")
    client.infer("all_types", [one], outputs=[into_region(module, "OUT_INT32", size=24, offset=8)])
    found = client_memory.get_contents_as_numpy(memory, np.int32, [8])
    assert found.tolist() == [0, 1, 0, 1, 2, 3, 4, 5]


def test_elements_of_bytes_are_checked_and_may_be_written(wire, memory):
    client, module = wire
    client.register_system_shared_memory("mine", KEY, ROOM)
    packed = b"\x05\x00\x00\x00hello"
    buffer = np.frombuffer(packed, dtype=np.uint8)
    client_memory.set_shared_memory_region(memory, [buffer])
    one = in_region(module, "IN", shape=(1,), size=len(packed), word="BYTES")
    client.infer("text", [one], outputs=[into_region(module, "OUT", size=64, offset=100)])
    found = client_memory.get_contents_as_numpy(memory, np.uint8, [9], offset=100)
    assert found.tobytes() == packed
    one.set_shared_memory("mine", len(packed) - 1)
    assert "incomplete string data for inference input 'IN'" in refusal(client.infer, "text", [one])


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({"region": "other"}, "Unable to find shared memory region: 'other'"),
        ({"offset": ROOM}, "Invalid offset for shared memory region: 'mine'"),
        ({"offset": ROOM - 8}, "Invalid offset + byte size for shared memory region: 'mine'"),
        ({"size": 8}, "input byte size mismatch for input 'INPUT0' for model 'm'. Expected 16, "
                      "got 8"),
        ({"size": 32}, "input byte size mismatch for input 'INPUT0' for model 'm'. Expected 16, "
                       "got 32"),
    ],
)  # fmt: skip
def test_row_104_inputs_outside_of_regions_are_refused(wire, memory, place, text):
    client, module = wire
    client.register_system_shared_memory("mine", KEY, ROOM)
    assert text in refusal(client.infer, "m", [in_region(module, **place)])


def test_row_104_an_output_that_does_not_fit_is_refused(wire, memory):
    client, module = wire
    client_memory.set_shared_memory_region(memory, [FOUR])
    client.register_system_shared_memory("mine", KEY, ROOM)
    assert (
        "shared memory size specified with the request for output 'OUTPUT0' (8 bytes) should be "
        "at least 16 bytes to hold the results"
    ) in refusal(client.infer, "m", [in_region(module)], outputs=[into_region(module, size=8)])
    for place, text in (
        ({"region": "other"}, "Unable to find shared memory region: 'other'"),
        ({"offset": ROOM}, "Invalid offset for"),
        ({"size": ROOM + 1}, "Invalid offset + byte size for"),
    ):
        assert text in refusal(
            client.infer, "m", [in_region(module)], outputs=[into_region(module, **place)]
        )


@pytest.mark.parametrize(
    ("key", "size", "offset", "text"),
    [
        ("/nothing_there", 16, 0, "Unable to open shared memory region: '/nothing_there'"),
        ("/OWN_test", ROOM + 1, 0, "failed to register shared memory region 'x': invalid args"),
        ("/OWN_test", 16, ROOM, "failed to register shared memory region 'x': invalid args"),
        ("/OWN_test", 2**63, 2**63, "failed to register shared memory region 'x': invalid args"),
        ("/OWN_test", 0, 0, "failed to register shared memory region 'x': invalid args"),
        ("/../etc/passwd", 16, 0, "cannot register shared memory region 'x' - invalid shm key"),
        ("/..", 16, 0, "cannot register shared memory region 'x' - invalid shm key"),
        ("", 16, 0, "cannot register shared memory region 'x' - invalid shm key ''"),
        ("/mps-ring", 16, 0, "contains the reserved prefix 'mps-'"),
        ("/triton_python_backend_shm_region_1", 16, 0, "contains the reserved prefix 'triton_"),
        ("/OWN_link", 16, 0, "Unable to open shared memory region: '/OWN_link'"),
        ("/OWN_folder", 16, 0, "Unable to open shared memory region: '/OWN_folder'"),
        ("/OWN_alias", 16, 0, "contains the reserved prefix 'mps-'"),
    ],
)
def test_row_104_what_can_not_be_registered(
    server, wire, memory, strange_names, key, size, offset, text
):
    client, _ = wire
    key = key.replace("OWN", OWN)
    told = refusal(client.register_system_shared_memory, "x", key, size, offset=offset)
    assert text.replace("OWN", OWN) in told
    assert rows(client) == []
    wait_until(lambda: not links(server), what="no link, nor one of before")


@pytest.fixture
def strange_names(server) -> Iterator[None]:
    """Names in `/dev/shm` that are no shared memory of the client's."""
    shm = Path("/dev/shm")
    board = next(name for name in server.segments() if name.endswith("-board"))
    link, folder, alias = (shm / f"{OWN}_{kind}" for kind in ("link", "folder", "alias"))
    link.symlink_to("/etc/hostname")
    folder.mkdir()
    os.link(shm / board, alias)
    yield
    link.unlink()
    folder.rmdir()
    alias.unlink()


def test_a_region_stays_what_it_was_when_its_name_goes_or_means_something_else(wire):
    client, module = wire
    first = shared_memory.SharedMemory(f"{OWN}_name", create=True, size=ROOM)
    try:
        first.buf[:16] = FOUR.tobytes()
        client.register_system_shared_memory("mine", f"/{OWN}_name", ROOM)
        first.unlink()
        second = shared_memory.SharedMemory(f"{OWN}_name", create=True, size=ROOM)
        try:
            answer = client.infer("m", [in_region(module)])
            assert answer.as_numpy("OUTPUT0").tolist() == FOUR.tolist()
        finally:
            second.close()
            second.unlink()
    finally:
        first.close()


@pytest.fixture
def other_memory() -> Iterator:
    handle = client_memory.create_shared_memory_region("mine", OTHER_KEY, ROOM)
    yield handle
    client_memory.destroy_shared_memory_region(handle)


@pytest.mark.parametrize("model", ["waiting", "waiting_through"])
def test_a_region_that_is_unregistered_while_in_use_lives_until_then(
    server, repository, memory, other_memory, model
):
    folder = repository / "waiting" / "1"
    for mark in ("began", "go"):
        (folder / mark).unlink(missing_ok=True)
    values = np.arange(4, dtype=np.float32)
    client_memory.set_shared_memory_region(memory, [values])
    client_memory.set_shared_memory_region(other_memory, [np.zeros(ROOM // 4, np.float32)])
    with triton_http.InferenceServerClient(server.address, concurrency=2) as client:
        client.register_system_shared_memory("mine", KEY, ROOM)
        pending = client.async_infer(
            model,
            [in_region(triton_http, "IN", shape=(4,))],
            outputs=[into_region(triton_http, "OUT", offset=256)],
        )
        wait_until((folder / "began").exists, what="the model to run")
        client.unregister_system_shared_memory("mine")
        assert client.get_system_shared_memory_status() == []
        assert links(server)
        client.register_system_shared_memory("mine", OTHER_KEY, ROOM)
        (folder / "go").touch()
        pending.get_result()
        found = client_memory.get_contents_as_numpy(memory, np.float32, [4], offset=256)
        assert found.tolist() == [0, 2, 4, 6]
        found = client_memory.get_contents_as_numpy(other_memory, np.float32, [4], offset=256)
        assert found.tolist() == [0, 0, 0, 0], "the name means other memory by now"
        client.unregister_system_shared_memory("mine")
    wait_until(lambda: not links(server), what="the link to be removed")


def test_ensembles_take_and_give_regions_too(wire, memory):
    client, module = wire
    client_memory.set_shared_memory_region(memory, [FOUR])
    client.register_system_shared_memory("mine", KEY, ROOM)
    one = in_region(module, "X")
    client.infer("through", [one], outputs=[into_region(module, "Y", offset=64, size=32)])
    found = client_memory.get_contents_as_numpy(memory, np.float32, [4], offset=64)
    assert found.tolist() == FOUR[0].tolist()
    assert "(8 bytes) should be at least 16 bytes" in refusal(
        client.infer, "through", [one], outputs=[into_region(module, "Y", size=8)]
    )


def test_cuda_memory_is_refused_as_without_a_gpu(server):
    handle = "A" * 86 + "=="  # 64 bytes
    path = "/v2/cudasharedmemory"
    body = {"raw_handle": {"b64": handle}, "byte_size": 16, "device_id": 0}
    answer = server.post(f"{path}/region/c/register", body)
    assert (answer.status, answer.json()["error"]) == (
        400, "failed to register CUDA shared memory region: 'c', GPUs not supported",
    )  # fmt: skip
    for changes, status, text in (
        ({"raw_handle": {"b64": "AAAA"}}, 400,
         "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t"),
        ({"raw_handle": {}}, 500, "attempt to access non-existing object member 'b64'"),
        ({"byte_size": -1}, 500,
         "attempt to access JSON non-unsigned-integer as unsigned-integer"),
    ):  # fmt: skip
        answer = server.post(f"{path}/region/c/register", {**body, **changes})
        assert (answer.status, answer.json()["error"]) == (status, text)
    assert server.get(f"{path}/status").json() == []
    assert server.get(f"{path}/region/c/status").status == 404
    assert server.post(f"{path}/unregister", {}).status == 200
    with triton_grpc.InferenceServerClient(server.grpc_address) as client:
        assert "GPUs not supported" in refusal(
            client.register_cuda_shared_memory, "c", b"A" * 88, 0, 16
        )
        assert not client.get_cuda_shared_memory_status().regions
        client.unregister_cuda_shared_memory()


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "Shared memory register request has no 'key' field"),
        ({"key": "/x"}, 400, "Shared memory register request has no 'byte_size' field"),
        ({"key": 1, "byte_size": 1}, 500, "attempt to access JSON non-string as string"),
        ({"key": "/x", "byte_size": -1}, 500,
         "attempt to access JSON non-unsigned-integer as unsigned-integer"),
    ],
)  # fmt: skip
def test_bodies_of_registrations(server, body, status, text):
    answer = server.post("/v2/systemsharedmemory/region/x/register", body)
    assert (answer.status, answer.json()) == (status, {"error": text})
    answer = server.post("/v2/systemsharedmemory/register", {"key": "/x", "byte_size": 1})
    assert answer.json()["error"] == (
        "'region name' is necessary to register system shared memory region"
    )


def test_client_memory_is_off_unless_it_is_allowed(triton):
    text = (
        "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to "
        "enable."
    )
    for path in ("region/x/register", "region/x/unregister", "unregister"):
        for kind in ("system", "cuda"):
            answer = triton.post(f"/v2/{kind}sharedmemory/{path}", {"key": "/x", "byte_size": 1})
            assert (answer.status, answer.json()) == (501, {"error": text})
    assert triton.get("/v2/systemsharedmemory/status").json() == []
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    tensor = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "parameters": place}
    answer = triton.post("/v2/models/m/infer", {"inputs": [tensor]})
    assert (answer.status, answer.json()) == (501, {"error": text})
