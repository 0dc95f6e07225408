"""Answers of one request, any number of them, on their way to a client.

Guarantees: answers leave in their order and at the client's pace; those that wait stay in the
worker's shared memory, whose bound then holds the model back. The request is taken back when the
client goes, or when nobody will hear its further answers.
"""

from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol

import orjson

from mpserve.codec.generate_json import NOT_ONE_RESPONSE
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.frontend.http import responses
from mpserve.frontend.http.responses import Exchange, Header, HttpResponse
from mpserve.model.request import Bytes
from mpserve.shm.dispatcher import Answer
from mpserve.telemetry import log

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"

Encode = Callable[[Answer], bytes]
Refuse = Callable[[Failure], HttpResponse]


class StreamingExchange(Exchange, Protocol):
    """An exchange whose answer may come bit by bit (the native core's)."""

    @property
    def writable(self) -> bool:
        """What is sent now leaves at once."""
        ...

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when it has become writable."""

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client goes before the answer's end."""

    def start_stream(self, status: int, headers: Sequence[Header]) -> None:
        """Send the head."""

    def write_chunk(self, data: Bytes) -> None:
        """Send a piece of the body."""

    def end_stream(self) -> None:
        """The body is complete."""


class _Answers:
    """What both kinds of streams share: how an answer is read, and how the request ends.

    Parameters
    ----------
    encode
        Answer -> its JSON text; may raise `MpserveError`.
    refuse
        Failure -> the whole answer when nothing was sent yet.
    """

    def __init__(self, exchange: StreamingExchange, *, encode: Encode, refuse: Refuse) -> None:
        self._exchange = exchange
        self._encode = encode
        self._refuse = refuse
        self._cancel: Callable[[], None] | None = None
        self._has_ended = False

    def attach(self, cancel: Callable[[], None]) -> None:
        """Take the way to take the request back; it was submitted."""
        self._cancel = cancel
        self._exchange.on_client_gone(self._give_up)

    def _give_up(self) -> None:
        self._has_ended = True
        if self._cancel is not None:
            self._cancel()

    def _read(self, answer: Answer) -> bytes | Failure:
        """Return the text of an answer, or why there is none. Nothing escapes."""
        if answer.code:
            return Failure(code=ErrorCode(answer.code), message=answer.error)
        try:
            return self._encode(answer)
        except MpserveError as error:
            return error.failure()
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("request.crashed", request_id=answer.request_id, error=repr(error))
            return Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}")


class EventStream(_Answers):
    """Server-sent events, one for each answer. The first answer decides the status."""

    def __init__(self, exchange: StreamingExchange, *, encode: Encode, refuse: Refuse) -> None:
        super().__init__(exchange, encode=encode, refuse=refuse)
        self._waiting: deque[Answer] = deque()
        self._has_started = False

    def on_answer(self, answer: Answer) -> None:
        """Send an answer as soon as the client reads."""
        if not self._has_ended:
            self._waiting.append(answer)
            self._send()

    def _send(self) -> None:
        while self._waiting and not self._has_ended and self._may_send():
            self._send_one(self._waiting.popleft())
        if self._waiting and not self._has_ended:
            self._exchange.on_writable(self._send)

    def _may_send(self) -> bool:
        return not self._has_started or self._exchange.writable

    def _send_one(self, answer: Answer) -> None:
        if not answer.is_mark and not self._send_event(self._read(answer)):
            if not answer.final:
                self._give_up()
            return
        if answer.final:
            self._start()
            self._has_ended = True
            self._exchange.end_stream()

    def _send_event(self, found: bytes | Failure) -> bool:
        """Send one event; false when the whole request was refused instead."""
        if isinstance(found, Failure):
            if not self._has_started:
                self._has_ended = True
                responses.send(self._exchange, self._refuse(found))
                return False
            found = error_text(found.message)
        self._start()
        self._exchange.write_chunk(b"data: " + found + b"\n\n")
        return True

    def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._exchange.start_stream(HTTPStatus.OK, [(b"Content-Type", EVENT_STREAM.encode())])

    def _give_up(self) -> None:
        self._waiting.clear()
        super()._give_up()


class OnlyAnswer(_Answers):
    """One JSON object, of a request that must have exactly one answer."""

    def __init__(self, exchange: StreamingExchange, *, encode: Encode, refuse: Refuse) -> None:
        super().__init__(exchange, encode=encode, refuse=refuse)
        self._found: bytes | Failure | None = None

    def on_answer(self, answer: Answer) -> None:
        """Keep the first answer; send it when it was the last, too."""
        if self._has_ended:
            return
        if not answer.is_mark:
            if self._found is not None:
                self._finish(error_text(NOT_ONE_RESPONSE))
                if not answer.final:
                    self._give_up()
                return
            self._found = self._read(answer)
        if answer.final:
            self._finish(self._found or error_text(NOT_ONE_RESPONSE))

    def _finish(self, found: bytes | Failure) -> None:
        self._has_ended = True
        if isinstance(found, Failure):
            responses.send(self._exchange, self._refuse(found))
            return
        self._exchange.start_stream(HTTPStatus.OK, [(b"Content-Type", responses.JSON.encode())])
        self._exchange.write_chunk(found)
        self._exchange.end_stream()


def error_text(message: str) -> bytes:
    """Return the JSON of an error that comes where an answer was expected."""
    try:
        return orjson.dumps({"error": message})
    except orjson.JSONEncodeError:  # a lone surrogate from a client's bytes
        return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})
