"""The little HTTP of the metrics port, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from mpserve.dialect import DialectName
from mpserve.errors import ConfigError
from mpserve.settings import Settings
from mpserve.supervisor.metrics_port import HEAD_BYTES, MAX_CONNECTIONS, metrics_port

PAGE = b"n 1\n"
SETTINGS = Settings(metrics_address="127.0.0.1", metrics_port=0)
MLSERVER = msgspec.structs.replace(SETTINGS, dialect=DialectName.MLSERVER)


async def the_page() -> bytes:
    return PAGE


@asynccontextmanager
async def serving(settings: Settings = SETTINGS, page: Callable = the_page) -> AsyncIterator[int]:
    async with (
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
        metrics_port(settings, page, tasks=tasks, lent_fd=-1) as port,
    ):
        yield port


def exchange(*requests: bytes, settings: Settings = SETTINGS, page: Callable = the_page):
    """Send the requests on one connection; return all that comes until it ends."""

    async def run() -> bytes:
        async with serving(settings, page) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for request in requests:
                writer.write(request)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

    return asyncio.run(run())


def request(method: str = "GET", path: str = "/metrics", *fields: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: h", *fields, "", "")).encode()


def parts(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def test_the_page_is_told_with_the_peers_content_type():
    head, body = parts(exchange(request()))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; charset=utf-8\r\n" in head
    assert body == PAGE
    head, _ = parts(exchange(request(), settings=MLSERVER))
    assert b"Content-Type: text/plain; version=1.0.0; charset=utf-8\r\n" in head


@pytest.mark.parametrize(
    ("settings", "method", "path", "status", "body"),
    [
        (SETTINGS, "GET", "/x", 200, b""),
        (SETTINGS, "GET", "/metrics/", 200, b""),
        (SETTINGS, "GET", "/metrics?x=1", 200, PAGE),
        (SETTINGS, "POST", "/metrics", 405, b'{"error":"Method Not Allowed"}'),
        (SETTINGS, "DELETE", "/x", 405, b'{"error":"Method Not Allowed"}'),
        (MLSERVER, "GET", "/x", 404, b'{"detail":"Not Found"}'),
        (MLSERVER, "POST", "/metrics", 405, b'{"detail":"Method Not Allowed"}'),
    ],
)
def test_other_paths_and_methods_are_answered_as_the_peer_does(
    settings, method, path, status, body
):
    head, found = parts(exchange(request(method, path), settings=settings))
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert found == body


def test_a_head_request_has_no_body():
    assert parts(exchange(request("HEAD")))[1] == b""


def test_a_connection_carries_many_requests_also_in_pieces():
    whole = request() * 3
    answer = exchange(whole[:10], whole[10:50], whole[50:])
    assert answer.count(b"HTTP/1.1 200 OK") == answer.count(PAGE) == 3


def test_a_page_that_takes_long_is_waited_for_and_holds_nobody_up():
    async def run() -> tuple[bytes, bytes]:
        may_go_on = asyncio.Event()
        has_begun = asyncio.Event()

        async def slow() -> bytes:
            has_begun.set()
            await may_go_on.wait()
            return PAGE

        async with serving(page=slow) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request() + request("POST") + request())
            writer.write_eof()
            await has_begun.wait()
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
            other_writer.write(request("POST", "/metrics", "Connection: close"))
            refused = await other_reader.read()
            may_go_on.set()
            served = await reader.read()
            writer.close()
            other_writer.close()
            return refused, served

    refused, served = asyncio.run(run())
    assert refused.startswith(b"HTTP/1.1 405")
    statuses = [line for line in served.split(b"\r\n") if b"HTTP/1.1" in line]
    assert [b" 200 " in line for line in statuses] == [True, False, True]
    assert served.count(PAGE) == 2


def test_a_client_that_leaves_before_its_page_costs_nobody_anything():
    async def run() -> bytes:
        may_go_on = asyncio.Event()
        has_begun = asyncio.Event()

        async def slow() -> bytes:
            has_begun.set()
            await may_go_on.wait()
            return PAGE

        async with serving(page=slow) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request())
            await has_begun.wait()
            writer.transport.abort()
            may_go_on.set()
            reader, other = await asyncio.open_connection("127.0.0.1", port)
            other.write(request("GET", "/metrics", "Connection: close"))
            served = await reader.read()
            other.close()
            return served

    assert parts(asyncio.run(run()))[1] == PAGE


@pytest.mark.parametrize("field", ["Connection: close", "Content-Length: 3"])
def test_nothing_is_read_behind_a_last_request_or_a_body(field):
    answer = exchange(request("GET", "/metrics", field) + request())
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize("rubbish", [b"\r\n\r\n", b"GET\r\n\r\n", b"\0" * (HEAD_BYTES + 1)])
def test_rubbish_is_refused_and_the_connection_closed(rubbish):
    answer = exchange(rubbish)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"Connection: close" in answer


def test_another_path_may_be_the_metrics():
    settings = msgspec.structs.replace(SETTINGS, metrics_endpoint="/m")
    assert parts(exchange(request(path="/m"), settings=settings))[1] == PAGE


def test_a_defect_of_the_page_is_a_500():
    async def broken() -> bytes:
        raise RuntimeError("defect")

    assert exchange(request(), page=broken).startswith(b"HTTP/1.1 500 ")


def test_too_many_connections_are_closed_and_the_others_served():
    async def run() -> tuple[bytes, bytes]:
        async with serving() as port:
            pairs = [
                await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS + 1)
            ]
            refused = await pairs[-1][0].read()
            pairs[0][1].write(request("GET", "/metrics", "Connection: close"))
            served = await pairs[0][0].read()
            for _, writer in pairs:
                writer.close()
            return refused, served

    refused, served = asyncio.run(run())
    assert (refused, parts(served)[1]) == (b"", PAGE)


def test_a_port_in_use_is_refused_in_the_peers_words():
    async def run(port: int) -> None:
        settings = msgspec.structs.replace(SETTINGS, metrics_port=port)
        with pytest.raises(ConfigError, match=f"Socket '127.0.0.1:{port}' already in use "):
            async with metrics_port(settings, the_page, tasks=asyncio.TaskGroup(), lent_fd=-1):
                pytest.fail("the port was had twice")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        asyncio.run(run(taken.getsockname()[1]))
