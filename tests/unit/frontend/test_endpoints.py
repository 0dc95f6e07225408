"""Every endpoint without sockets, processes or shared memory."""

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mpserve.codec.cloud_events import Events
from mpserve.control.messages import (
    CallDone,
    IndexCall,
    IndexReply,
    LoadCall,
    PublishTable,
    UnloadCall,
)
from mpserve.dialect import MLSERVER, TRITON, Dialect
from mpserve.dispatch.regions import Regions
from mpserve.dispatch.routing_table import RoutingTable
from mpserve.dispatch.tracer import Tracer
from mpserve.errors import ErrorCode, Failure, ModelNotReady, QueueFull
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.handlers import Handlers
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.frontend.handlers.metadata import MetadataHandler
from mpserve.frontend.handlers.repository import RepositoryCalls
from mpserve.frontend.handlers.statistics import StatisticsHandler
from mpserve.frontend.http.endpoints import Endpoints
from mpserve.frontend.http.inferences import make_inferences
from mpserve.frontend.http.restriction import Restrictions
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.state import IndexRow, ModelState
from mpserve.model.tensor import Datatype
from mpserve.model.trace_setting import SpanExport
from mpserve.settings import Settings
from mpserve.telemetry.counters import ModelCounts
from tests.unit.dispatch.tables import model, version
from tests.unit.frontend.exchanges import RecordedExchange

TENSOR = TensorSpec(name="x", datatype=Datatype.UINT8, shape=(2,))
CONFIG = ModelConfig(backend="python", signature=Signature(inputs=(TENSOR,), outputs=(TENSOR,)))
BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"UINT8","data":[1,2]}]}'


class Queue:
    """Takes submitted requests; the test answers them."""

    def __init__(self) -> None:
        self.callbacks: dict[int, Callable] = {}
        self.cancelled: list[int] = []
        self.refusal: Exception | None = None
        self.traces = False

    def submit(self, *_, callback, **__):
        if self.refusal is not None:
            raise self.refusal
        self.callbacks[len(self.callbacks) + 1] = callback
        return len(self.callbacks)

    def cancel(self, token):
        self.cancelled.append(token)


class Frontend:
    """The endpoints of a frontend, its queue, and what it told the supervisor."""

    def __init__(self, dialect: Dialect = TRITON) -> None:
        self.sent: list = []
        self.queue = Queue()
        self.table = RoutingTable(dialect.phrases)
        self.health = Health()
        self.settings = Settings(dialect=dialect.name, server_name="s", server_version="1")
        self.calls = RepositoryCalls(
            send=self.sent.append,
            call_later=lambda *_: SimpleNamespace(cancel=lambda: None),
            settings=self.settings,
        )
        routes = SimpleNamespace(
            route_to=lambda name, version: (name, version),
            counts=lambda _name, _version: ModelCounts(successes=3),
        )
        regions = Regions(server_id="0", allowed=False, max_bytes=0, acknowledge=lambda _: None)
        handlers = Handlers(
            health=self.health,
            metadata=MetadataHandler(table=self.table, settings=self.settings),
            statistics=StatisticsHandler(table=self.table, routes=routes),
            repository=self.calls,
            regions=regions,
            infer=InferHandler(
                table=self.table,
                routes=routes,
                dispatcher=self.queue,
                regions=regions,
                dialect=dialect,
                tracer=Tracer(self.queue, server_id="0", export=SpanExport()),
            ),
            labels=LabelFiles(),
        )
        inferences = make_inferences(
            handler=handlers.infer,
            labels=handlers.labels,
            forwarding=HeaderForwarding(""),
            dialect=dialect,
            max_input_bytes=1000,
            events=Events(),
        )
        self.endpoints = Endpoints(
            dialect=dialect,
            handlers=handlers,
            inferences=inferences,
            restrictions=Restrictions(),
            max_body_bytes=1000,
        )

    def ask(self, method: str, path: str, body: bytes = b"", *headers, **more) -> RecordedExchange:
        exchange = RecordedExchange(method, path, body, headers, **more)
        self.endpoints.answer(exchange)
        return exchange

    def publish(self, *models) -> None:
        self.table.apply(removed=(), changed=models)


@pytest.fixture(params=[TRITON, MLSERVER], ids=["triton", "mlserver"])
def frontend(request: pytest.FixtureRequest) -> Frontend:
    return Frontend(request.param)


@pytest.fixture
def triton() -> Frontend:
    one = Frontend()
    one.publish(model("m", version("1", config=CONFIG, config_json='{"name":"m"}')))
    return one


def table(*, ready: bool, live: bool) -> PublishTable:
    return PublishTable(number=1, changed=(), removed=(), server_ready=ready, server_live=live)


# --- health and metadata ------------------------------------------------------------------------


def test_a_frontend_is_neither_live_nor_ready_before_it_is_told(frontend):
    for path in ("live", "ready"):
        assert frontend.ask("GET", f"/v2/health/{path}").status in {400, 503}
    frontend.health.apply(table(ready=True, live=True))
    for path in ("live", "ready"):
        assert frontend.ask("GET", f"/v2/health/{path}").status == 200
    frontend.health.stop()
    assert frontend.ask("GET", "/v2/health/ready").status in {400, 503}


def test_a_wrong_method_is_told_the_right_one(frontend):
    answered = frontend.ask("POST", "/v2")
    assert answered.status == 405
    assert answered.answer_headers[b"Allow"] == b"GET"


def test_configuration_is_what_the_supervisor_published(triton):
    assert triton.ask("GET", "/v2/models/m/config").answer == b'{"name":"m"}'


def test_an_mlserver_model_has_no_triton_configuration(triton):
    settings = json.dumps(
        {
            "name": "e",
            "platform": "p",
            "versions": ["a"],
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        }
    )
    triton.publish(model("e", version(""), form=ConfigFormat.MLSERVER, settings_json=settings))
    assert triton.ask("GET", "/v2/models/e/config").status == 501
    assert triton.ask("GET", "/v2/models/e").json() == {
        "name": "e",
        "versions": ["a"],
        "platform": "p",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [],
    }


# --- repository ---------------------------------------------------------------------------------


def test_a_load_is_answered_when_the_supervisor_answers(triton):
    exchange = triton.ask("POST", "/v2/repository/models/m/load", b'{"parameters":{"config":"{}"}}')
    (call,) = triton.sent
    assert exchange.status is None
    assert call == LoadCall(call_id=call.call_id, name="m", config="{}", files={})
    triton.calls.on_reply(CallDone(call_id=call.call_id, failure=None))
    assert (exchange.status, exchange.answer) == (200, b"")


@pytest.mark.parametrize(
    ("code", "status"),
    [(ErrorCode.NOT_FOUND, 500), (ErrorCode.LOAD_FAILED, 400), (ErrorCode.UNAVAILABLE, 503)],
)
def test_a_failed_load_has_tritons_status(triton, code, status):
    exchange = triton.ask("POST", "/v2/repository/models/m/load")
    failure = Failure(code=code, message="why")
    triton.calls.on_reply(CallDone(call_id=triton.sent[0].call_id, failure=failure))
    assert (exchange.status, exchange.json()) == (status, {"error": "why"})


def test_mlserver_does_not_look_at_the_body_of_a_load():
    frontend = Frontend(MLSERVER)
    frontend.ask("POST", "/v2/repository/models/m/load", b"rubbish")
    assert frontend.sent[0].config == ""


def test_an_unload_carries_its_parameter(triton):
    triton.ask(
        "POST", "/v2/repository/models/m/unload", b'{"parameters":{"unload_dependents":true}}'
    )
    assert triton.sent == [
        UnloadCall(call_id=triton.sent[0].call_id, name="m", unload_dependents=True)
    ]


def test_the_index_is_the_supervisors(triton):
    exchange = triton.ask("POST", "/v2/repository/index", b'{"ready":true}')
    (call,) = triton.sent
    assert call == IndexCall(call_id=call.call_id, ready_only=True)
    rows = (IndexRow(name="m", version="1", state=ModelState.READY),)
    triton.calls.on_reply(IndexReply(call_id=call.call_id, rows=rows))
    assert exchange.answer == b'[{"name":"m","version":"1","state":"READY"}]'


@pytest.mark.parametrize("name", ["..", "."])
def test_names_that_could_leave_the_repository_never_reach_the_supervisor(triton, name):
    assert triton.ask("POST", f"/v2/repository/models/{name}/load").status == 400
    assert triton.sent == []


# --- inference ----------------------------------------------------------------------------------


def answer(code: int = 0, error: str = "", *outputs: object) -> SimpleNamespace:
    return SimpleNamespace(
        code=code, error=error, outputs=list(outputs), parameters_json="", headers=b""
    )


def output(data: bytes, shape: tuple[int, ...] = (2,)) -> SimpleNamespace:
    return SimpleNamespace(
        name="x", datatype="UINT8", shape=shape, data=memoryview(data), parameters_json=""
    )


def test_an_inference_is_answered_when_its_model_answers(triton):
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY)
    assert exchange.status is None
    triton.queue.callbacks[1](answer(0, "", output(b"\5\6")))
    assert exchange.status == 200
    assert exchange.json()["outputs"][0]["data"] == [5, 6]


@pytest.mark.parametrize(
    ("code", "status"),
    [(ErrorCode.MODEL_FAILED, 500), (ErrorCode.UNAVAILABLE, 503), (ErrorCode.CANCELLED, 400)],
)
def test_a_failure_of_the_model_has_its_status(triton, code, status):
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY)
    triton.queue.callbacks[1](answer(code, "why"))
    assert (exchange.status, exchange.json()) == (status, {"error": "why"})
    assert exchange.answer_headers[b"Content-Type"] == b"application/json"


def test_an_answer_that_can_not_be_written_is_an_error_as_text(triton):
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY)
    triton.queue.callbacks[1](answer(0, "", output(b"\5\6", (3,))))
    assert exchange.status == 500
    assert exchange.answer_headers[b"Content-Type"] == b"text/plain"


def test_a_defect_while_answering_is_told_and_not_raised(triton):
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY)
    triton.queue.callbacks[1](SimpleNamespace(code=0))
    assert exchange.status == 500
    assert "internal error" in exchange.json()["error"]


def test_the_request_of_a_client_that_goes_is_cancelled(triton):
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY)
    assert exchange.gone is not None
    exchange.gone()
    assert triton.queue.cancelled == [1]


@pytest.mark.parametrize("refusal", [QueueFull("Exceeds maximum queue size"), ModelNotReady("x")])
def test_what_the_queue_refuses_is_503(triton, refusal):
    triton.queue.refusal = refusal
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY)
    assert (exchange.status, exchange.json()["error"]) == (503, str(refusal))


def test_row_109_a_decoupled_model_is_501(triton):
    triton.publish(model("d", version("1", config=ModelConfig(decoupled=True))))
    exchange = triton.ask("POST", "/v2/models/d/infer", BODY)
    assert exchange.status == 501
    assert exchange.json() == {
        "error": "HTTP end point doesn't support models with decoupled transaction policy"
    }
    assert exchange.answer_headers[b"Content-Type"] == b"text/plain"


@pytest.mark.parametrize(("dialect", "status"), [(TRITON, 400), (MLSERVER, 413)])
def test_a_body_that_was_not_read_is_refused(dialect, status):
    frontend = Frontend(dialect)
    frontend.publish(model("m", version("1", config=CONFIG)))
    exchange = frontend.ask("POST", "/v2/models/m/infer", BODY, too_large=True)
    assert exchange.status == status
    assert "maximum allowed input size of 1000 bytes" in exchange.json()["error"]


def test_of_repeated_headers_the_first_counts(triton):
    name = b"inference-header-content-length"
    exchange = triton.ask("POST", "/v2/models/m/infer", BODY, (name, b"x"), (name, b"1"))
    assert exchange.json()["error"].endswith("got: x")


def test_a_defect_of_an_endpoint_is_told_and_not_raised(triton, monkeypatch):
    monkeypatch.setattr(triton.table, "ready", None)
    exchange = triton.ask("GET", "/v2/models/m")
    assert exchange.status == 500
    assert "Traceback" not in exchange.json()["error"]


def test_bodies_are_json_whatever_is_asked(frontend):
    for path in ("/v2/models/\udcff", "/v2/models/x/infer"):
        target = path.encode("utf-8", "surrogateescape")
        exchange = RecordedExchange("POST" if "infer" in path else "GET", "/")
        exchange.target = target
        frontend.endpoints.answer(exchange)
        assert json.loads(exchange.answer)
