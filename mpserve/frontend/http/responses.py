"""HTTP answers as values, errors in the dialect's form, and their way onto the wire."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from mpserve.codec.content_encoding import BodyTooLarge, UnknownEncoding
from mpserve.codec.field_fault import InvalidFields, detail_body
from mpserve.dialect import (
    BodyForm,
    Dialect,
    HealthAnswer,
    Operation,
    StatusRow,
    TransportFault,
    error_body,
)
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.model.request import Bytes

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
READABLE_ENCODINGS: Final = (b"Accept-Encoding", b"gzip, deflate")

Header = tuple[bytes, bytes]

_FAULTS: Final[Mapping[type[MpserveError], TransportFault]] = {
    BodyTooLarge: TransportFault.BODY_TOO_LARGE,
    UnknownEncoding: TransportFault.UNSUPPORTED_ENCODING,
}
_PROTOCOL_FAULTS: Final[Mapping[int, TransportFault]] = {
    400: TransportFault.MALFORMED_HTTP,
    408: TransportFault.TOO_SLOW,
    413: TransportFault.BODY_TOO_LARGE,
    414: TransportFault.HEADERS_TOO_LARGE,
    431: TransportFault.HEADERS_TOO_LARGE,
}


class Exchange(Protocol):
    """One request that waits for its answer (the native core's).

    Attributes
    ----------
    target
        Path and query as sent.
    headers
        Names in lower case.
    headers_as_sent
        Names as the client spelled them.
    body
        Without chunk framing, still compressed when it came so.
    body_too_large
        The body is past the limit and was not read.
    body_has_no_room
        No shared memory was left for the body, and it was not read.
    content_length
        Bytes of the body, read or not.
    received_ns, complete_ns
        When its first and its last byte came, on the monotonic clock; 0 while nothing is traced.
    count_at
        Says at which route the answer is counted, where routes are.
    add_headers
        Sends headers with the answer, whatever it is.
    """

    def count_at(self, route: str) -> None: ...  # noqa: D102  the class says it
    def add_headers(self, headers: Sequence[Header]) -> None: ...  # noqa: D102
    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> bytes: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[Header]: ...  # noqa: D102
    @property
    def headers_as_sent(self) -> Sequence[Header]: ...  # noqa: D102
    @property
    def body(self) -> memoryview: ...  # noqa: D102
    @property
    def body_too_large(self) -> bool: ...  # noqa: D102
    @property
    def body_has_no_room(self) -> bool: ...  # noqa: D102
    @property
    def content_length(self) -> int: ...  # noqa: D102
    @property
    def received_ns(self) -> int: ...  # noqa: D102
    @property
    def complete_ns(self) -> int: ...  # noqa: D102

    def respond(self, status: int, headers: Sequence[Header], body: Sequence[Bytes]) -> None:
        """Answer; without effect when the client is gone."""


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An answer.

    Attributes
    ----------
    content_type
        "" for no such header.
    body
        Pieces, in order.
    headers
        Further ones; length and connection are the connection's business.
    """

    status: int
    content_type: str
    body: tuple[Bytes, ...] = ()
    headers: tuple[Header, ...] = ()

    def all_headers(self) -> list[Header]:
        """Return the headers with the content type."""
        content_type = [(b"Content-Type", self.content_type.encode())] if self.content_type else []
        return [*content_type, *self.headers]


def send(exchange: Exchange, response: HttpResponse) -> None:
    """Answer a request."""
    exchange.respond(response.status, response.all_headers(), response.body)


def json_response(body: bytes) -> HttpResponse:
    """Return a successful answer with a JSON body."""
    return HttpResponse(status=HTTPStatus.OK, content_type=JSON, body=(body,))


def health_response(answer: HealthAnswer) -> HttpResponse:
    """Return the answer of a health route."""
    return HttpResponse(status=answer.http, content_type=answer.content_type, body=(answer.body,))


def failure_response(failure: Failure, *, dialect: Dialect, operation: Operation) -> HttpResponse:
    """Return how the dialect answers a failure of an operation."""
    return row_response(dialect.status(failure.code, operation=operation), failure.message)


def error_response(error: MpserveError, *, dialect: Dialect, operation: Operation) -> HttpResponse:
    """Return how the dialect answers an error that was raised here."""
    fault = _FAULTS.get(type(error))
    if fault is not None:
        headers = (READABLE_ENCODINGS,) if isinstance(error, UnknownEncoding) else ()
        return fault_response(fault, error.message, dialect=dialect, headers=headers)
    row = dialect.status(error.code, operation=operation)
    if isinstance(error, InvalidFields) and row.form is BodyForm.DETAIL_LIST:
        return HttpResponse(
            status=row.http, content_type=row.content_type, body=(detail_body(error.faults),)
        )
    return row_response(row, error.message)


def fault_response(
    fault: TransportFault, message: str, *, dialect: Dialect, headers: tuple[Header, ...] = ()
) -> HttpResponse:
    """Return how the dialect answers what is wrong before an operation is known."""
    return row_response(dialect.transport[fault], message, headers=headers)


def row_response(row: StatusRow, message: str, *, headers: tuple[Header, ...] = ()) -> HttpResponse:
    """Return the answer that a row of the error table means."""
    if row.retry_after_s:
        headers = (*headers, (b"Retry-After", b"%d" % row.retry_after_s))
    return HttpResponse(
        status=row.http,
        content_type=row.content_type,
        body=(error_body(row, message),),
        headers=headers,
    )


def protocol_error(status: int, reason: str, *, dialect: Dialect) -> bytes:
    """Return the whole answer to what is no request; the connection closes after it."""
    fault = _PROTOCOL_FAULTS.get(status)
    row = dialect.transport[fault or TransportFault.MALFORMED_HTTP]
    if fault is None:  # a status of HTTP itself, which no dialect answers otherwise
        row = msgspec.structs.replace(row, http=status)
    response = row_response(row, reason, headers=((b"Connection", b"close"),))
    return whole(response)


def too_many_connections(dialect: Dialect, *, limit: int) -> bytes:
    """Return the whole answer to a connection that is one too many; it closes after it."""
    row = dialect.status(ErrorCode.EXHAUSTED, operation=Operation.INFER)
    message = f"all {limit} connections are taken; try again"
    return whole(row_response(row, message, headers=((b"Connection", b"close"),)))


def whole(response: HttpResponse) -> bytes:
    """Return an answer with its head, as it goes on the wire of a connection that stays open."""
    body = b"".join(response.body)
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = "Error"
    lines = [f"HTTP/1.1 {response.status} {reason}".encode()]
    lines += [name + b": " + value for name, value in response.all_headers()]
    lines.append(b"Content-Length: " + str(len(body)).encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
