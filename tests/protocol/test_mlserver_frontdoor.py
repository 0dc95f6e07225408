"""What MLServer's settings say about pages of other origins, proxies, compression and logging."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.server import Answer, Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import mlserver_repository

PAGE = "https://page.example"
TENSOR = {"name": "x", "shape": [200], "datatype": "FP32", "data": [1.0] * 200}
TALKER = """
from mlserver import MLModel
from mlserver.logging import logger
from mlserver.types import InferenceResponse

class Talker(MLModel):
    async def predict(self, payload):
        logger.info("asked for %d", len(payload.inputs))
        return InferenceResponse(model_name=self.name, outputs=[])
"""


def add_talker(repository: Path) -> None:
    folder = repository / "talker"
    folder.mkdir()
    (folder / "talker.py").write_text(TALKER)
    settings = {"name": "talker", "implementation": "talker.Talker"}
    (folder / "model-settings.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "told.log"


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, logged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server behind a proxy that shows it under `/models`, with pages of other origins."""
    folder = tmp_path_factory.mktemp("frontdoor")
    repository = mlserver_repository(folder / "models")
    add_talker(repository)
    logging = {
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": str(logged),
                "formatter": "short",
            }
        },
        "loggers": {"mlserver": {"handlers": ["file"], "level": "INFO"}},
    }
    (folder / "logging.json").write_text(json.dumps(logging))
    settings = {
        "cors_settings": {
            "allow_origins": [PAGE],
            "allow_methods": ["GET", "POST"],
            "allow_headers": ["x-key"],
            "expose_headers": ["ce-id"],
        },
        "root_path": "/models",
        "gzip_enabled": False,
        "logging_settings": str(folder / "logging.json"),
    }
    (repository / "settings.json").write_text(json.dumps(settings))
    restricted = ["--http-restricted-api=model-repository:key=secret"]
    with Server.start(repository, flags=restricted, log_path=folder / "log") as running:
        yield running


def infer(server: Server, path: str = "/v2/models/echo/infer", **headers: str) -> Answer:
    return server.request("POST", path, {"inputs": [TENSOR]}, headers)


def test_an_inference_for_a_page_tells_the_browser_so(server):
    answer = infer(server, Origin=PAGE)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == "ce-id"
    assert answer.headers["vary"] == "Origin"
    assert answer.json()["outputs"][0]["data"] == TENSOR["data"]


def test_who_is_no_page_is_told_nothing(server):
    for answer in (infer(server), server.get("/v2"), server.get("/v2/models/echo")):
        assert answer.status == 200
        assert not {name for name in answer.headers if name.startswith("access-control")}
        assert not answer.headers.keys() & {"date", "server"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2", 200),
        ("/v2/health/ready", 200),
        ("/v2/models/echo", 200),
        ("/v2/models/nope", 404),
        ("/nope", 404),
        ("/v2/models/echo/infer", 405),
    ],
)
def test_every_answer_is_one_that_the_page_may_read(server, path, status):
    answer = server.request("GET", path, headers={"Origin": PAGE})
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_stream_is_one_that_the_page_may_read(server):
    answer = infer(server, "/v2/models/echo/generate_stream", Origin=PAGE)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_another_page_may_read_nothing(server):
    answer = infer(server, Origin="https://other.example")
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def preflight(server: Server, path: str, **headers: str) -> Answer:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    return server.request("OPTIONS", path, headers={**asked, **headers})


@pytest.mark.parametrize("path", ["/v2/models/echo/infer", "/nope", "/v2/repository/index"])
def test_a_preflight_is_answered_without_looking_at_the_path(server, path):
    answer = preflight(server, path, **{"Access-Control-Request-Headers": "X-Key, content-type"})
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-max-age"] == "600"


def test_a_preflight_of_what_is_not_allowed_is_refused(server):
    answer = preflight(server, "/v2", **{"Access-Control-Request-Method": "DELETE"})
    assert (answer.status, answer.body) == (400, b"Disallowed CORS method")


def test_options_without_a_preflight_are_a_wrong_method(server):
    answer = server.request("OPTIONS", "/v2", headers={"Origin": PAGE})
    assert answer.status == 405
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("prefix", ["", "/models"])
def test_paths_are_served_with_and_without_the_root_path(server, prefix):
    assert server.get(f"{prefix}/v2").json()["name"] == "mlserver"
    assert server.get(f"{prefix}/v2/health/live").status == 200
    assert infer(server, f"{prefix}/v2/models/echo/infer").status == 200
    assert server.get(f"{prefix}/v2/models/echo?x=1").status == 200
    assert server.get(f"{prefix}/v2/nope").status == 404


def test_a_root_path_is_whole_parts_of_a_path(server):
    assert server.get("/modelsv2").status == 404
    assert server.get("/models").status == 404
    assert server.get("/models/models/v2").status == 404


def test_links_lead_through_the_proxy(server):
    document = server.get("/v2/docs/dataplane.json").json()
    assert document["servers"] == [{"url": "/models"}]
    assert b'["/models/v2/docs/dataplane.json"' in server.get("/models/v2/docs").body
    assert b'["/models/v2/models/echo/docs/' in server.get("/v2/models/echo/docs").body
    answer = server.get("/v2/health/live/?a=b")
    assert (answer.status, answer.headers["location"]) == (307, "/models/v2/health/live?a=b")


def test_answers_are_not_compressed_when_that_is_off(server):
    answer = infer(server, **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert len(answer.body) > 500


def test_models_and_the_server_log_by_the_file(server, logged):
    assert server.post("/v2/models/talker/infer", {"inputs": [TENSOR]}).status == 200
    lines: set[str] = set()

    def is_told() -> bool:
        lines.update(logged.read_text().splitlines())
        assert any(line.startswith("INFO mlserver model.loaded ") for line in lines), lines
        return "INFO mlserver asked for 1" in lines

    wait_until(is_told, what="the server's and the model's words in the file")
    assert "asked for 1" not in server.log_text
    assert "model.loaded" not in server.log_text
