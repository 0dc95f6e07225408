"""Services that count their calls, for a transport that does not count them itself."""

import time
from collections.abc import Callable

import msgspec

from mpserve.dialect import GrpcCode
from mpserve.frontend.grpc.call import (
    Call,
    GrpcFailure,
    Metadata,
    Services,
    StreamInput,
    StreamMethod,
    StreamOutput,
    UnaryMethod,
)
from mpserve.shm.traffic_board import Traffic
from mpserve.telemetry.traffic import TrafficKind


def counted(services: Services, traffic: Traffic) -> Services:
    """Return the same services, which count what they are asked."""
    return msgspec.structs.replace(
        services,
        unary={
            path: _counted_unary(method, _Place(traffic, path, services.kind(path)))
            for path, method in services.unary.items()
        },
        streams={
            path: _counted_stream(method, _Place(traffic, path, services.kind(path)))
            for path, method in services.streams.items()
        },
    )


class _Place:
    """A method, as it is counted."""

    def __init__(self, traffic: Traffic, path: str, kind: TrafficKind) -> None:
        self.traffic = traffic
        self.kind = kind
        self.index = traffic.place(kind, path)


class _Counting:
    """One call from its begin to its only end."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._begun_ns = time.monotonic_ns()
        self._is_open = True
        place.traffic.call_began(place.index)

    def end(self, code: GrpcCode) -> None:
        if self._is_open:
            self._is_open = False
            taken_ns = time.monotonic_ns() - self._begun_ns
            place = self._place
            place.traffic.call_ended(place.index, place.kind, int(code), taken_ns)


def _counted_unary(method: UnaryMethod, place: _Place) -> UnaryMethod:
    return lambda message, call: method(message, _CountedCall(call, _Counting(place)))


class _CountedCall:
    def __init__(self, call: Call, counting: _Counting) -> None:
        self._call = call
        self._counting = counting
        self._on_client_gone: Callable[[], None] | None = None
        call.on_client_gone(self._tell_client_gone)

    @property
    def received_ns(self) -> int:
        return self._call.received_ns

    @property
    def deadline_ns(self) -> int:
        return self._call.deadline_ns

    def metadata(self) -> Metadata:
        return self._call.metadata()

    def set_trailers(self, headers: bytes) -> None:
        self._call.set_trailers(headers)

    def finish(self, result: bytes | GrpcFailure) -> None:
        self._counting.end(result.code if isinstance(result, GrpcFailure) else GrpcCode.OK)
        self._call.finish(result)

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        self._on_client_gone = callback

    def _tell_client_gone(self) -> None:
        self._counting.end(GrpcCode.CANCELLED)
        if self._on_client_gone is not None:
            self._on_client_gone()


def _counted_stream(method: StreamMethod, place: _Place) -> StreamMethod:
    def serve(output: StreamOutput, metadata: Metadata) -> StreamInput:
        counting = _Counting(place)
        inner = method(_CountedOutput(output, place, counting), metadata)
        return _CountedInput(inner, place, counting)

    return serve


class _CountedOutput:
    def __init__(self, output: StreamOutput, place: _Place, counting: _Counting) -> None:
        self._output = output
        self._place = place
        self._counting = counting

    @property
    def deadline_ns(self) -> int:
        return self._output.deadline_ns

    @property
    def writable(self) -> bool:
        return self._output.writable

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._output.on_writable(callback)

    def read_on(self) -> None:
        self._output.read_on()

    def send(self, message: bytes) -> None:
        self._place.traffic.message_sent(self._place.index)
        self._output.send(message)

    def set_trailers(self, headers: bytes) -> None:
        self._output.set_trailers(headers)

    def end(self, failure: GrpcFailure | None) -> None:
        self._counting.end(failure.code if failure is not None else GrpcCode.OK)
        self._output.end(failure)


class _CountedInput:
    def __init__(self, stream: StreamInput, place: _Place, counting: _Counting) -> None:
        self._stream = stream
        self._place = place
        self._counting = counting

    def on_message(self, message: bytes) -> None:
        self._place.traffic.message_received(self._place.index)
        self._stream.on_message(message)

    def on_half_close(self) -> None:
        self._stream.on_half_close()

    def on_client_gone(self) -> None:
        self._counting.end(GrpcCode.CANCELLED)
        self._stream.on_client_gone()

    def on_drain(self) -> None:
        self._stream.on_drain()

    def has_room(self) -> bool:
        return self._stream.has_room()
