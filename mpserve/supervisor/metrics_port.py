"""The metrics port: a server of one page, spoken in as little HTTP as scrapers need.

Guarantees
    A client can neither hold the supervisor up nor make it keep much: heads are bounded, idle and
    slow connections are closed, and there are not many at a time.
"""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, cast

from mpserve.dialect import HealthAnswer
from mpserve.dialect.metrics import METRICS_ANSWERS, MetricsAnswers
from mpserve.errors import ConfigError
from mpserve.settings import Settings
from mpserve.supervisor.unix_socket import NO_SOCKET
from mpserve.telemetry import log

HEAD_BYTES: Final = 16 * 1024
IDLE_SECONDS: Final = 75.0  # scrapers keep their connection, and come back within a minute
MAX_CONNECTIONS: Final = 64
Page = Callable[[], Awaitable[bytes]]
_HEAD_END: Final = b"\r\n\r\n"
_BAD_REQUEST: Final = HealthAnswer(http=400, content_type="text/plain", body=b"")


@asynccontextmanager
async def metrics_port(
    settings: Settings, page: Page, *, tasks: asyncio.TaskGroup, lent_fd: int
) -> AsyncIterator[int]:
    """Serve `page` while the block runs; gives the port.

    Parameters
    ----------
    tasks
        Where pages are waited for.
    lent_fd
        A service manager's socket, which goes before the address; `NO_SOCKET` for none.

    Raises
    ------
    ConfigError
        The address can not be listened on, in Triton's words.
    """
    answers = METRICS_ANSWERS[settings.dialect]
    connections: set[MetricsConnection] = set()
    loop = asyncio.get_running_loop()
    address, port = settings.metrics_address, settings.metrics_port

    def connection() -> MetricsConnection:
        return MetricsConnection(
            endpoint=settings.metrics_endpoint.encode(),
            answers=answers,
            page=page,
            tasks=tasks,
            connections=connections,
        )

    try:
        if lent_fd != NO_SOCKET:
            lent = socket.socket(fileno=os.dup(lent_fd))
            server = await loop.create_server(connection, sock=lent)
        else:
            host = address or "0.0.0.0"  # noqa: S104  what "" means for the peers
            server = await loop.create_server(connection, host, port)
    except OSError as error:
        raise ConfigError(_complaint(error, f"{address}:{port}")) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in tuple(connections):
            one.close()


class MetricsConnection(asyncio.Protocol):
    """One scraper."""

    def __init__(
        self,
        *,
        endpoint: bytes,
        answers: MetricsAnswers,
        page: Page,
        tasks: asyncio.TaskGroup,
        connections: "set[MetricsConnection]",
    ) -> None:
        self._endpoint = endpoint
        self._answers = answers
        self._page = page
        self._tasks = tasks
        self._connections = connections
        self._is_paused = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._wait()
        if len(self._connections) > MAX_CONNECTIONS:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer every request whose head has come, one after the other."""
        self._received += data
        self._read_on()

    def close(self) -> None:
        """Close when what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(IDLE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _read_on(self) -> None:
        while not self._is_paused and self._transport is not None:
            if self._transport.is_closing():
                return
            head, end, rest = bytes(self._received).partition(_HEAD_END)
            if not end:
                if len(head) > HEAD_BYTES:
                    self._send(_BAD_REQUEST, keep_alive=False)
                return
            self._received = bytearray(rest)
            self._answer(head)
            self._wait()

    def _answer(self, head: bytes) -> None:
        lines = head.lstrip(b"\r\n").split(b"\r\n")
        parts = lines[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            self._send(_BAD_REQUEST, keep_alive=False)
            return
        method, target, version = parts
        fields = b"\r\n".join(lines[1:]).lower()
        # A request with a body is not read any further, so nothing may follow it.
        has_body = b"content-length:" in fields or b"transfer-encoding:" in fields
        wants_close = b"connection: close" in fields or version == b"HTTP/1.0"
        keep_alive = not has_body and not wants_close
        refusal = self._refusal(method, target.partition(b"?")[0])
        if refusal is not None:
            self._send(refusal, keep_alive=keep_alive, with_body=method != b"HEAD")
            return
        self._pause()
        self._tasks.create_task(self._send_page(keep_alive=keep_alive), name="scrape")

    def _refusal(self, method: bytes, path: bytes) -> HealthAnswer | None:
        """Return the answer to what does not ask for the page."""
        is_elsewhere = path != self._endpoint
        if method != b"GET" and (self._answers.method_first or not is_elsewhere):
            return self._answers.wrong_method
        return self._answers.elsewhere if is_elsewhere else None

    async def _send_page(self, *, keep_alive: bool) -> None:
        answer = await self._page_answer()
        if self._transport is not None:
            self._send(answer, keep_alive=keep_alive)
            self._resume()

    async def _page_answer(self) -> HealthAnswer:
        try:
            page = await self._page()
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("scrape.broke", reason=repr(error))
            return HealthAnswer(http=500, content_type="text/plain", body=b"")
        return HealthAnswer(http=200, content_type=self._answers.content_type, body=page)

    def _pause(self) -> None:
        """Read nothing until the page is there: neither more requests nor the end."""
        assert self._transport is not None, "a request of a connection that is gone"
        self._is_paused = True
        self._transport.pause_reading()

    def _resume(self) -> None:
        self._is_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._read_on()
        if self._transport is not None and not self._is_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _send(self, answer: HealthAnswer, *, keep_alive: bool, with_body: bool = True) -> None:
        assert self._transport is not None, "an answer for a connection that is gone"
        head = [f"HTTP/1.1 {answer.http} {HTTPStatus(answer.http).phrase}"]
        if answer.content_type:
            head.append(f"Content-Type: {answer.content_type}")
        head.append(f"Content-Length: {len(answer.body)}")
        if not keep_alive:
            head.append("Connection: close")
        self._transport.write(
            "\r\n".join(head).encode() + _HEAD_END + (answer.body if with_body else b"")
        )
        if not keep_alive:
            self._transport.close()


def _complaint(error: OSError, place: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Socket '{place}' already in use "
    # asyncio puts its own words around the system's; a name that is not known has none of those.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else error.strerror or error
    return f"Socket '{place}' can not be opened: {reason}"
