"""MLServer's metrics of its wires, from a real server: `rest_server_*` and `grpc_server_*`."""

import contextlib
import json
import re
import socket
import time

import grpc
import pytest

from tests.fixtures.grpc_calls import MLSERVER, SERVICE, Calls
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import mlserver_repository

LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
ONE = {"inputs": [TENSOR]}
LATE_SECONDS = 0.05
INFER = "/v2/models/{model_name}/infer"
TYPED = {"name": "x", "shape": [2], "datatype": "FP32", "contents": {"fp32_contents": [1, 2]}}
SLOW = """
import asyncio
from mlserver import MLModel
from mlserver.types import InferenceResponse

class Slow(MLModel):
    async def predict(self, payload):
        print("slow has begun", flush=True)
        await asyncio.sleep(1000)
        return InferenceResponse(model_name=self.name, outputs=[])
"""


def series(server: Server) -> dict[str, float]:
    """Return `name{labels}` -> value."""
    lines = [line for line in server.metrics().splitlines() if not line.startswith("#")]
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    return {f"{one[1]}{{{one[2] or ''}}}": float(one[3]) for one in matches if one}


def rest(name: str, path: str, status: int, method: str = "POST", suffix: str = "") -> str:
    labels = f'app_name="mlserver",method="{method}",path="{path}",status_code="{status}"'
    return f"rest_server_{name}{suffix}{{{labels}}}"


def call(name: str, method: str, code: str = "", kind: str = "UNARY") -> str:
    labels = f'grpc_method="{method}",grpc_service="{SERVICE}",grpc_type="{kind}"'
    told = f'grpc_code="{code}",' if code else ""
    return f"grpc_server_{name}{{{told}{labels}}}"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "route"),
    [
        ("POST", "/v2/models/echo/infer", ONE, 200, INFER),
        ("POST", "/v2/models/nobody/infer", ONE, 404, INFER),
        ("POST", "/v2/models/echo/infer", {}, 422, INFER),
        ("POST", "/v2/models/echo/generate", ONE, 200, "/v2/models/{model_name}/generate"),
        (
            "POST", "/v2/models/versioned/versions/v0.1.0/infer", ONE, 200,
            "/v2/models/{model_name}/versions/{model_version}/infer",
        ),
        ("POST", "/v2/models/echo/infer_stream", ONE, 200, "/v2/models/{model_name}/infer_stream"),
        ("GET", "/v2", None, 200, "/v2"),
        ("GET", "/v2/models/echo", None, 200, "/v2/models/{model_name}"),
        ("GET", "/v2/models/echo/ready", None, 200, "/v2/models/{model_name}/ready"),
        ("GET", "/v2/models/nobody/ready", None, 404, "/v2/models/{model_name}/ready"),
        ("POST", "/v2/repository/index", {}, 200, "/v2/repository/index"),
        (
            "POST", "/v2/repository/models/nobody/load", {}, 404,
            "/v2/repository/models/{model_name}/load",
        ),
        (
            "GET", "/v2/models/echo/docs/dataplane.json", None, 200,
            "/v2/models/{model_name}/docs/dataplane.json",
        ),
    ],
)  # fmt: skip
def test_a_request_is_counted_by_route_and_status(mlserver, method, path, body, status, route):
    before = series(mlserver)
    assert mlserver.request(method, path, body).status == status
    names = [
        rest("requests_total", route, status, method),
        rest("request_duration_seconds", route, status, method, "_count"),
    ]
    in_progress = f'rest_server_requests_in_progress{{app_name="mlserver",method="{method}"}}'

    def is_counted() -> bool:
        after = series(mlserver)
        assert [after[name] - before.get(name, 0) for name in names] == [1, 1]
        changed = {one for one in after if one.startswith("rest_server_requests_total")
                   and after[one] != before.get(one, 0)}  # fmt: skip
        assert changed == {names[0]}
        return after[in_progress] == 0

    wait_until(is_counted, what="the request to be counted")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/v2/models/echo/infer", 405),
    ],
)
def test_health_unknown_paths_and_wrong_methods_are_not_counted(mlserver, method, path, status):
    before = series(mlserver)
    assert mlserver.request(method, path).status == status
    after = series(mlserver)
    counted = {name for name in after if name.startswith("rest_server_requests_total")}
    assert {name: after[name] for name in counted} == {name: before[name] for name in counted}


def test_a_body_that_comes_late_counts_from_its_head(mlserver):
    body = json.dumps(ONE).encode()
    head = (
        f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    name = rest("request_duration_seconds", INFER, 200, suffix="_sum")
    before = series(mlserver).get(name, 0)
    in_progress = 'rest_server_requests_in_progress{app_name="mlserver",method="POST"}'
    with socket.create_connection(("127.0.0.1", mlserver.port)) as client:
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 100")  # it has the head
        begun = time.monotonic()
        client.sendall(body[:1])
        page = series(mlserver)
        while time.monotonic() < begun + LATE_SECONDS:
            page = series(mlserver)
        client.sendall(body[1:])
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    wait_until(
        lambda: series(mlserver).get(name, 0) - before > LATE_SECONDS / 2,
        what="the time since the head to be counted",
    )
    assert page.get(in_progress, 0) == 0  # nothing was asked before
    wait_until(lambda: series(mlserver)[in_progress] == 0, what="the request to be over")


def test_a_client_that_goes_is_counted_as_499(serve_mlserver):
    server = serve_mlserver({"slow": ("model.Slow", SLOW)})
    body = json.dumps(ONE).encode()
    head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
    in_progress = 'rest_server_requests_in_progress{app_name="mlserver",method="POST"}'
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + body)
        wait_until(lambda: "slow has begun" in server.log_text, what="the model to begin")
        assert series(server)[in_progress] == 1
    gone = rest("requests_total", INFER, 499)
    wait_until(lambda: series(server).get(gone) == 1, what="the client to be missed")
    wait_until(lambda: series(server)[in_progress] == 0, what="the request to be over")
    server.process_named("mps:slow").kill()


@pytest.mark.parametrize("transport", ["native", "aio"])
def test_calls_are_counted_by_method_and_code(transport, tmp_path):
    wanted = {
        call("started_total", "ServerLive"): 1,
        call("started_total", "ModelInfer"): 2,
        call("started_total", "ModelMetadata"): 1,
        call("started_total", "ModelStreamInfer", kind="BIDI_STREAMING"): 1,
        call("handled_total", "ServerLive", "OK"): 1,
        call("handled_total", "ModelInfer", "OK"): 1,
        call("handled_total", "ModelInfer", "NOT_FOUND"): 1,
        call("handled_total", "ModelMetadata", "NOT_FOUND"): 1,
        call("handled_total", "ModelStreamInfer", "OK", kind="BIDI_STREAMING"): 1,
        call("msg_received_total", "ModelStreamInfer", kind="BIDI_STREAMING"): 2,
        call("msg_sent_total", "ModelStreamInfer", kind="BIDI_STREAMING"): 2,
        call("handling_seconds_count", "ServerLive"): 1,
        call("handling_seconds_count", "ModelInfer"): 2,
        call("handling_seconds_count", "ModelMetadata"): 1,
    }
    root = mlserver_repository(tmp_path / "models")
    flags = (f"--grpc-transport={transport}",)
    with Server.start(root, flags=flags, log_path=tmp_path / "log") as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            calls = Calls(channel, MLSERVER)
            calls("ServerLive")
            calls("ModelInfer", model_name="echo", inputs=[TYPED])
            with pytest.raises(grpc.RpcError):
                calls("ModelInfer", model_name="nobody", inputs=[TYPED])
            with pytest.raises(grpc.RpcError):
                calls("ModelMetadata", name="nobody")
            request = calls.message("ModelInferRequest", model_name="echo", inputs=[TYPED])
            assert len(list(calls.stream(iter([request, request])))) == 2

        def counted() -> dict[str, float]:
            return {
                name: value
                for name, value in series(server).items()
                if name.startswith("grpc_server")
                and not name.partition("{")[0].endswith(("_bucket", "_sum"))
            }

        with contextlib.suppress(AssertionError):
            wait_until(lambda: counted() == wanted, what="the calls to be counted")
        assert counted() == wanted


def test_requests_find_others_in_flight(mlserver):
    before = series(mlserver).get("parallel_request_queue_count{}", 0)
    assert mlserver.infer("echo", ONE).status == 200
    assert series(mlserver)["parallel_request_queue_count{}"] == before + 1


def test_counts_outlive_frontend_and_supervisor(serve_mlserver):
    server = serve_mlserver({})
    count = rest("requests_total", "/v2", 200, "GET")
    assert server.get("/v2").status == 200
    server.process_named("mps frontend 0").kill()

    def is_back() -> bool:
        try:
            return server.get("/v2").status == 200
        except OSError:
            return False

    wait_until(is_back, what="the frontend to be back")
    assert series(server)[count] == 2
    server.process_named("mps supervisor").kill()
    wait_until(lambda: server.log_text.count("metrics.ready") == 2, what="the next supervisor")
    assert series(server)[count] == 2
    assert server.get("/v2").status == 200
    assert series(server)[count] == 3


def test_the_prefix_is_mlservers_setting(serve_mlserver):
    server = serve_mlserver({}, environment={"MLSERVER_METRICS_REST_SERVER_PREFIX": "api"})
    assert server.get("/v2").status == 200
    names = {name.partition("{")[0] for name in series(server)}
    assert "api_requests_total" in names
    assert not [name for name in names if name.startswith("rest_server")]


def test_without_metrics_nothing_is_counted(serve_mlserver):
    server = serve_mlserver({}, flags=("--allow-metrics=false",))
    assert server.get("/v2").status == 200
    assert not [name for name in server.segments() if "traffic" in name]


@pytest.fixture
def serve_mlserver(tmp_path):
    """Start a server on models of these sources: name -> (implementation, source)."""
    servers = []

    def start(models, **options):
        root = tmp_path / "models"
        root.mkdir()
        for name, (implementation, source) in models.items():
            (root / name).mkdir()
            (root / name / "model.py").write_text(source)
            settings = {"name": name, "implementation": implementation}
            (root / name / "model-settings.json").write_text(json.dumps(settings))
        server = Server.start(root, log_path=tmp_path / "log", **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()
