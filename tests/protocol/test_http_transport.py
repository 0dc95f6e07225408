"""HTTP itself over raw sockets: pipelining, chunks, compression, limits, clients that go away."""

import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from tests.fixtures.closed_loop import infer_bytes
from tests.fixtures.pace import within
from tests.fixtures.repository import Repository
from tests.fixtures.server import Answer, Server
from tests.fixtures.turnstile import Turnstile, request
from tests.fixtures.turnstile import answer as outcome
from tests.fixtures.waiting import wait_until

SECONDS = within(10)
REQUEST = {
    "id": "1",
    "inputs": [{"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
}
SENT = json.dumps(REQUEST).encode()
INFER = "/v2/models/m/infer"


@pytest.fixture(params=["triton", "mlserver"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each test speaks to both dialects."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def turnstile(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Turnstile, Server]]:
    """A model behind which requests wait, and its server."""
    folder = tmp_path_factory.mktemp("turnstile")
    repository = Repository(folder / "models")
    model = Turnstile(repository, folder, config="")
    with Server.serve(repository.path, log_path=folder / "log") as one:
        yield model, one


@pytest.fixture(params=[0, 2], ids=["fresh", "old"], autouse=True)
def requests_before(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection is used anew, and after the core has begun to read it by itself."""
    monkeypatch.setattr(Connections, "requests_before", request.param)


class Connections:
    """How connections are when a test gets them."""

    requests_before = 0


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as client:
        for _ in range(Connections.requests_before):
            client.sendall(get("/v2/health/live"))
            with client.makefile("rb") as stream:
                assert read_answer(stream)[0] == 200
        yield client


def read_answer(stream) -> tuple[int, dict[str, str], bytes]:
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        headers[name.decode().lower()] = value.strip().decode()
    return status, headers, stream.read(int(headers["content-length"]))


def ask(server: Server, raw: bytes, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    with connected(server) as client:
        client.sendall(raw)
        with client.makefile("rb") as stream:
            return [read_answer(stream) for _ in range(answers)]


def get(path: str, *, close: bool = False) -> bytes:
    connection = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{connection}\r\n".encode()


def post(path: str, content: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def compressed(triton: Server, content: bytes, coding: str, **headers: str) -> Answer:
    return triton.request("POST", INFER, content, {"Content-Encoding": coding, **headers})


# --- framing ------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order(triton):
    slow = json.dumps(
        {"inputs": [{"name": "SECONDS", "shape": [1], "datatype": "FP32", "data": [0.2]}]}
    ).encode()
    raw = (
        post("/v2/models/slow/infer", slow) + get("/nope") + post(INFER, SENT) + get("/v2/models/m")
    )
    answers = ask(triton, raw, 4)
    assert [status for status, _, _ in answers] == [200, 404, 200, 200]
    assert b"SLEPT" in answers[0][2]
    assert b"OUTPUT0" in answers[2][2]


def test_a_connection_serves_many_requests(server):
    with connected(server) as client, client.makefile("rb") as stream:
        for path in ["/v2", "/nope", "/v2/health/live", "/v2/models/none", "/v2"]:
            client.sendall(get(path))
            assert read_answer(stream)[0] == (200 if path in {"/v2", "/v2/health/live"} else 404)


def test_connection_close_is_obeyed(server):
    for path in ["/v2", "/nope"]:
        with connected(server) as client, client.makefile("rb") as stream:
            client.sendall(get(path, close=True))
            read_answer(stream)
            assert stream.read() == b""


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/nope"])
def test_what_becomes_of_a_connection_is_told(server, path):
    def told(version: str, *fields: str) -> str | None:
        lines = [f"GET {path} HTTP/{version}", "Host: x", *fields, "", ""]
        ((_, headers, _),) = ask(server, "\r\n".join(lines).encode())
        return headers.get("connection")

    assert told("1.1") is None
    assert told("1.1", "Connection: close") == "close"
    assert told("1.0") == "close"
    assert told("1.0", "Connection: keep-alive") == "keep-alive"


def test_chunked_bodies_are_read(triton):
    middle = len(SENT) // 2
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in (SENT[:middle], SENT[middle:])
    )
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    ((status, _, body),) = ask(triton, head + chunks + b"0\r\n\r\n")
    assert status == 200
    assert json.loads(body)["id"] == "1"


def test_row_113_too_many_chunks_are_400_and_close(triton):
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with connected(triton) as client, client.makefile("rb") as stream:
        client.sendall(head + b"1\r\nx\r\n" * 65537)
        status, _, body = read_answer(stream)
        assert status == 400
        assert json.loads(body)["error"] == (
            "Chunked request body exceeds maximum of 65536 non-empty chunks. Send fewer or larger "
            "HTTP chunks."
        )


def test_expect_continue_is_answered_before_the_body(triton):
    with connected(triton) as client, client.makefile("rb") as stream:
        head, _, content = post(INFER, SENT, "Expect: 100-continue").partition(b"\r\n\r\n")
        client.sendall(head + b"\r\n\r\n")
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        client.sendall(content)
        assert read_answer(stream)[0] == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"rubbish\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 500_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_with_json_and_closed(server, raw):
    with connected(server) as client, client.makefile("rb") as stream:
        client.sendall(raw)
        status, headers, body = read_answer(stream)
        assert 400 <= status < 600
        assert json.loads(body)
        assert headers["connection"] == "close"
        assert stream.read() == b""


# --- limits -------------------------------------------------------------------------------------


def test_a_body_past_the_limit_is_refused_without_being_read(server):
    status = {"triton": 400, "mlserver": 413}
    head = f"POST /v2/models/{{}}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 33}\r\n\r\n"
    names = {row["name"] for row in server.index()}
    model = "m" if "m" in names else "echo"
    ((got, _, body),) = ask(server, head.format(model).encode())
    assert got == status["triton" if model == "m" else "mlserver"]
    assert "exceeds the maximum allowed input size of 67108864 bytes" in json.loads(body)["error"]


def test_a_small_body_can_not_become_a_large_one(triton):
    bomb = zlib.compress(b" " * (65 << 20), 9)
    answer = compressed(triton, bomb, "deflate")
    assert answer.status == 400
    assert "exceeds the maximum allowed input size" in answer.json()["error"]


# --- compression --------------------------------------------------------------------------------


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_row_101_compressed_requests_are_read(triton, coding, pack):
    assert compressed(triton, pack(SENT), coding).json()["id"] == "1"


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.1, deflate;q=0.9", "deflate"),
        ("identity", None),
        ("br", None),
        ("gzip;q=0", None),
    ],
)
def test_row_101_answers_are_compressed_as_the_client_prefers(triton, accepts, coding):
    answer = triton.request("POST", INFER, SENT, {"Accept-Encoding": accepts})
    assert answer.headers.get("content-encoding") == coding
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[coding]
    assert json.loads(unpack(answer.body))["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


def test_mlservers_documents_are_compressed_as_the_client_prefers(mlserver):
    path = "/v2/docs/dataplane.json"
    plain = mlserver.get(path)
    assert plain.headers["vary"] == "Accept-Encoding"
    packed = mlserver.request("GET", path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    small = mlserver.request("GET", "/v2/models/echo", headers={"Accept-Encoding": "gzip"})
    assert not small.headers.keys() & {"vary", "content-encoding"}


def test_tritons_documents_are_not_compressed(triton):
    answer = triton.request("GET", "/v2/models/m/config", headers={"Accept-Encoding": "gzip"})
    assert len(answer.body) > 500
    assert not answer.headers.keys() & {"vary", "content-encoding"}


def test_row_101_another_coding_is_501_and_told_what_is_read(triton):
    answer = compressed(triton, SENT, "br")
    assert (answer.status, answer.json()) == (501, {"error": "Unsupported compression type"})
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert answer.headers["content-type"] == "text/plain"


def test_compressed_rubbish_is_400(triton):
    answer = compressed(triton, b"rubbish", "gzip")
    assert answer.status == 400
    assert "gzip" in answer.json()["error"]


def test_a_compressed_binary_answer_has_the_json_length_before_compression(triton):
    content = json.dumps({**REQUEST, "parameters": {"binary_data_output": True}}).encode()
    answer = compressed(triton, gzip.compress(content), "gzip", **{"Accept-Encoding": "gzip"})
    plain = gzip.decompress(answer.body)
    length = int(answer.headers["inference-header-content-length"])
    assert plain[length:] == np.array([1, 2, 3, 4], "<f4").tobytes()


# --- clients that go away -----------------------------------------------------------------------


def test_row_114_a_queued_request_of_a_client_that_went_is_never_executed(turnstile):
    model, server = turnstile
    _, before = outcome(model.send(server))
    with model.held(server):
        with connected(server) as client:
            client.sendall(infer_bytes(model.name, request()))
            wait_until(lambda: model.waiting(server) == 1, what="the request to wait")
        wait_until(lambda: model.waiting(server) == 0, what="it to leave the queue")
    assert outcome(model.send(server)) == (200, before + 2)  # the one that held had a turn


def test_answers_leave_a_client_that_goes_in_the_middle_alone(server):
    for path in ["/v2/models/m/infer", "/v2/models/echo/infer", "/nope"]:
        for _ in range(20):
            with connected(server) as client:
                client.sendall(post(path, SENT)[:-5])
            with connected(server) as client:
                client.sendall(post(path, SENT))
    wait_until(lambda: ask(server, get("/v2"))[0][0] == 200, what="an answer")
