"""What real answers have in them is what the tables in `docs/compatibility` list: `json.md`, and
`messages.md` for gRPC.
"""

import json
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from textwrap import dedent

import grpc
import pytest
from google.protobuf.message import Message

from tests.fixtures.compatibility.documents import ANSWERS, MLSERVER, TRITON
from tests.fixtures.compatibility.messages import answer_fields, outcome
from tests.fixtures.compatibility.wire import DialectName
from tests.fixtures.grpc_calls import MLSERVER as MLSERVER_MESSAGES
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.server import Answer, Server
from tests.protocol.models import IDENTITY, MLSERVER_ECHO, RAISING, tensors, write_triton

TWICE = dedent(
    """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                sender = request.get_response_sender()
                tensor = pb_utils.get_input_tensor_by_name(request, "IN")
                output = pb_utils.Tensor("OUT", tensor.as_numpy())
                sender.send(
                    pb_utils.InferenceResponse([output]),
                    flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
                )
            return None
    """
)
MOODY = dedent(
    """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            return [
                pb_utils.InferenceResponse(
                    [], parameters={"mood": "good", "level": 3, "is_on": True}
                )
                for _ in requests
            ]
    """
)
ONE = tensors("input", ("IN", "TYPE_FP32", [1])) + tensors("output", ("OUT", "TYPE_FP32", [1]))
INPUT = {"name": "IN", "shape": [1], "datatype": "FP32", "data": [1]}


@pytest.fixture(scope="module")
def triton_members(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("members")
    write_triton(folder / "models" / "m", source=IDENTITY, config=ONE.replace("[1]", "[-1]"))
    decoupled = "model_transaction_policy { decoupled: true }"
    write_triton(folder / "models" / "twice", source=TWICE, config=ONE + decoupled)
    write_triton(folder / "models" / "moody", source=MOODY, config=ONE)
    write_triton(folder / "models" / "bad", source="import nothing_at_all", config=ONE)
    write_triton(folder / "models" / "raising", source=RAISING, config=ONE)
    with Server.serve(
        folder / "models",
        flags=["--exit-on-error=false", "--strict-readiness=false", "--allow-client-shm=true"],
        log_path=folder / "log",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def mlserver_members(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("members")
    place = Path(folder, "models", "m")
    place.mkdir(parents=True)
    (place / "model.py").write_text(MLSERVER_ECHO)
    declared = {"name": "x", "datatype": "FP32", "shape": [-1]}
    settings = {
        "name": "m",
        "implementation": "model.Echo",
        "inputs": [declared | {"parameters": {"content_type": "np"}}],
        "outputs": [declared | {"name": "out", "parameters": {"content_type": "np"}}],
        "parameters": {"version": "v1", "content_type": "np"},
    }
    (place / "model-settings.json").write_text(json.dumps(settings))
    with Server.start(place.parent, log_path=folder / "log") as server:
        yield server


def members(document: object, listed: frozenset[str], at: str = "") -> set[str]:
    """Return the places of all values of a document, as the tables write them."""
    if isinstance(document, list):
        inner = [one for one in document if isinstance(one, dict | list)]
        return set().union(*(members(one, listed, f"{at}[]") for one in inner)) or {at}
    if not isinstance(document, dict):
        return {at}
    found: set[str] = set()
    for name, value in document.items():
        place = f"{at}.{name}".removeprefix(".")
        free = f"{at}.*".removeprefix(".")
        is_named = any(one == place or one.startswith(f"{place}.") for one in listed)
        has_free = any(one == free or one.startswith(f"{free}.") for one in listed)
        found |= members(value, listed, free if has_free and not is_named else place)
    return found or {at}


def compare(dialect: DialectName, route: str, *answers: Answer) -> None:
    """Assert that the answers together have exactly the members of the table."""
    listed = frozenset(ANSWERS[dialect, route])
    found = {name for answer in answers for name in members(answer.json(), listed)}
    # What has members in another answer may have none in this one.
    parts = [one.split(".") for one in listed]
    empty = {".".join(one[:end]).removesuffix("[]") for one in parts for end in range(len(one))}
    assert found - listed - empty == set(), f"{route}: not in the table"
    assert listed - found == set(), f"{route}: in no answer"


def test_answers_of_triton(triton_members):
    server = triton_members
    compare(TRITON, "GET /v2", server.get("/v2"))
    compare(TRITON, "GET /v2/models/M", server.get("/v2/models/m"))
    binary = {"name": "OUT", "parameters": {"binary_data": True}}
    generated = server.post("/v2/models/twice/generate", {"IN": 1, "id": "7"})
    assert generated.status == 200, generated
    plain = server.infer("m", {"id": "7", "inputs": [INPUT]})
    whole = server.infer("m", {"inputs": [INPUT], "outputs": [binary]})
    length = int(whole.headers["inference-header-content-length"])
    compare(
        TRITON,
        "POST /v2/models/M/infer",
        plain,
        whole._replace(body=whole.body[:length]),
        server.infer("moody", {"inputs": [INPUT]}),
    )
    compare(TRITON, "POST /v2/models/M/generate", generated)
    compare(TRITON, "GET /v2/models/M/stats", *map(stats_of(server), ("m", "twice")))
    compare(TRITON, "POST /v2/repository/index", server.post("/v2/repository/index"))
    compare(TRITON, "GET /v2/trace/setting", server.get("/v2/trace/setting"))
    compare(TRITON, "GET /v2/logging", server.get("/v2/logging"))
    raised = server.infer("raising", {"inputs": [INPUT]})
    compare(TRITON, "errors", server.get("/v2/models/nope"), raised)


def stats_of(server):
    return lambda model: server.get(f"/v2/models/{model}/stats")


def test_regions_of_triton(triton_members):
    memory = SharedMemory(create=True, size=64)
    try:
        place = "/v2/systemsharedmemory/region/r"
        claim = {"key": f"/{memory.name.lstrip('/')}", "offset": 0, "byte_size": 64}
        assert triton_members.post(f"{place}/register", claim).status == 200
        status = triton_members.get("/v2/systemsharedmemory/status")
        compare(TRITON, "GET /v2/systemsharedmemory/status", status)
        assert triton_members.post(f"{place}/unregister").status == 200
    finally:
        memory.close()
        memory.unlink()


def test_answers_of_mlserver(mlserver_members):
    server = mlserver_members
    compare(MLSERVER, "GET /v2", server.get("/v2"))
    compare(MLSERVER, "GET /v2/models/M", server.get("/v2/models/m"))
    asked = server.infer("m", {"inputs": [INPUT | {"name": "x"}]})
    compare(MLSERVER, "POST /v2/models/M/infer", asked)
    compare(MLSERVER, "POST /v2/repository/index", server.post("/v2/repository/index", {}))
    broken = [server.request("POST", "/v2/models/m/infer", body) for body in (b"{", b"{}")]
    compare(MLSERVER, "errors", server.get("/v2/models/nope"), server.get("/nope"), *broken)


def test_grpc_tells_the_models_content_type_too(mlserver_members):
    with grpc.insecure_channel(mlserver_members.grpc_address) as channel:
        told = Calls(channel, MLSERVER_MESSAGES)("ModelMetadata", name="m")
    assert told.parameters["content_type"].string_param == "np"


# --- gRPC -----------------------------------------------------------------------------------------

UNFILLED = {
    "ModelInferResponse.InferOutputTensor.contents",  # answers are raw
    "ModelInferResponse.InferOutputTensor.parameters",  # models of Triton give tensors none
    "InferTensorContents.",
    "InferParameter.uint64_param",  # of a number past 63 bits
    "InferParameter.double_param",  # models give none
    "ModelConfigResponse.config",  # a page of its own
    "ModelStatistics.memory_usage",
    "CudaSharedMemoryStatusResponse.regions",
}
"""Fields of answers that stay empty here, as the page says or for want of something to tell."""


def filled(message: Message, found: set[str]) -> None:
    """Add the names of all fields of a message that have a value."""
    own = message.DESCRIPTOR.full_name.removeprefix("inference.")
    for field, value in message.ListFields():
        found.add(f"{own}.{field.name}")
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = value.values()
        else:
            inner = value if field.is_repeated else [value]
        for one in inner:
            filled(one, found)


def asked(calls: Calls) -> Iterator[Message]:
    """Ask everything that a server can tell."""
    tensor = {"name": "IN", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1]}}
    for method in ("ServerLive", "ServerReady", "ServerMetadata", "LogSettings", "TraceSetting"):
        yield calls(method)
    for method in ("ModelReady", "ModelMetadata"):
        yield calls(method, name="m")
    for model in ("m", "moody"):
        yield calls("ModelInfer", calls.infer_request(model, tensor, id="7"))
    good, bad = (calls.infer_request(model, tensor) for model in ("twice", "nobody"))
    yield from calls.stream(iter([good, bad]))
    yield calls("ModelStatistics")
    yield calls("RepositoryIndex")
    yield calls("SystemSharedMemoryStatus")
    yield calls("CudaSharedMemoryStatus")


def test_answers_over_grpc_fill_the_fields_that_the_page_lists(triton_members):
    memory = SharedMemory(create=True, size=64)
    found: set[str] = set()
    try:
        with grpc.insecure_channel(triton_members.grpc_address) as channel:
            calls = Calls(channel)
            place = {"key": f"/{memory.name.lstrip('/')}", "offset": 8, "byte_size": 16}
            calls("SystemSharedMemoryRegister", name="g", **place)
            for answer in asked(calls):
                filled(answer, found)
            calls("SystemSharedMemoryUnregister", name="g")
    finally:
        memory.close()
        memory.unlink()
    listed = {
        field
        for field in answer_fields(TRITON)
        if outcome(TRITON, field).startswith("yes") and not field.startswith(tuple(UNFILLED))
    }
    assert listed - found == set()
