"""What pages of other origins are told: MLServer and mpserve with the same `cors_settings`."""

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.measuring.server import Launch
from bench.peers.mlserver import MLServer
from bench.peers.peer import Control, Site
from tests.differential.mlserver_suite import write_models
from tests.differential.peers import SECONDS, running
from tests.fixtures.server import Server

PAGE = "https://page.example"
POLICIES: dict[str, dict[str, Any]] = {
    "all": {"allow_origins": ["*"], "allow_methods": ["*"], "allow_headers": ["*"]},
    "some": {
        "allow_origins": ["https://other.example"],
        "allow_origin_regex": r"https://.*\.example",
        "allow_credentials": True,
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["X-Key"],
        "max_age": 5,
    },
    "none": {},
}


class Told(NamedTuple):
    """What a page can see of an answer."""

    status: int
    headers: dict[str, str]
    text: bytes


class Ports(NamedTuple):
    """Where the two answer."""

    theirs: int
    own: int


@pytest.fixture(scope="module", params=POLICIES)
def ports(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Ports]:
    policy = POLICIES[request.param]
    folder = tmp_path_factory.mktemp("pages")
    first, second = (write_models(folder / name) for name in ("theirs", "ours"))

    def with_policy(launch: Launch, site: Site) -> Launch:
        path = site.repository / "settings.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"cors_settings": policy}))
        return launch

    (second / "settings.json").write_text(json.dumps({"cors_settings": policy}))
    with contextlib.ExitStack() as stack:
        peer = MLServer(parallel_workers=0)
        theirs = stack.enter_context(
            running(peer, first, folder, control=Control.ALL, adapt=with_policy)
        )
        own = stack.enter_context(Server.start(second, log_path=Path(folder, "ours.log")))
        yield Ports(theirs.http_port, own.port)


def ask(port: int, method: str, path: str, headers: Mapping[str, str]) -> Told:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        seen = {name: value for name, value in names.items()
                if name.startswith("access-control-") or name == "vary"}  # fmt: skip
        text = answer.read()
        return Told(answer.status, seen, text if method == "OPTIONS" else b"")


def asks(**headers: str) -> dict[str, str]:
    return {f"Access-Control-Request-{name}": text for name, text in headers.items()}


@pytest.mark.parametrize("origin", [None, PAGE, "https://other.example", "http://else.where", ""])
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v2/models/echo", {}),
        ("GET", "/v2", {"Cookie": "a=b"}),
        ("GET", "/nothing", {}),
        ("PUT", "/v2", {}),
        ("POST", "/v2/models/echo/infer", {}),
        ("OPTIONS", "/v2", {}),
        ("OPTIONS", "/v2/models/echo/infer", asks(Method="POST")),
        ("OPTIONS", "/v2/models/echo/infer", asks(Method="POST", Headers="x-key, Content-Type")),
        ("OPTIONS", "/nothing", asks(Method="DELETE", Headers="x-other")),
        ("OPTIONS", "/v2", asks(Method="")),
        ("OPTIONS", "/v2", asks(Method="GET", Headers="")),
        ("GET", "/v2", asks(Method="GET")),
    ],
    ids=str,
)
def test_pages_are_told_alike(ports, method, path, headers, origin):
    sent = headers if origin is None else {**headers, "Origin": origin}
    theirs, own = (ask(port, method, path, sent) for port in ports)
    assert own == theirs
