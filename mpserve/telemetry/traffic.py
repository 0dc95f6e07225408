"""What clients asked of the server, by route of HTTP and method of gRPC, as MLServer tells it.

The words themselves lie in shared memory (`native/include/mpserve/traffic_board.hpp`); a
`mpserve.shm.traffic_board.TrafficBoard` reads them into these shapes.

Source: names, helps, labels and buckets of MLServer 1.7.1 as seen running, which has them from
`starlette_exporter` 0.24 and `py_grpc_prometheus` 0.8.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from mpserve.dialect import GrpcCode
from mpserve.telemetry.exposition import Family, Kind, Sample, histogram_samples

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the buckets: seconds, and of `parallel_request_queue` requests."""
_APP: Final = "mlserver"
_NS_PER_SECOND: Final = 1_000_000_000


class TrafficKind(enum.IntEnum):
    """A method of HTTP, or a type of gRPC call; the names are the peer's labels."""

    GET = 0
    POST = 1
    PUT = 2
    HEAD = 3
    DELETE = 4
    OPTIONS = 5
    PATCH = 6
    OTHER = 7
    UNARY = 8
    SERVER_STREAMING = 9
    BIDI_STREAMING = 10

    @property
    def is_call(self) -> bool:
        """Of gRPC."""
        return self >= TrafficKind.UNARY


class PlaceCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A route, its variable parts named, or the path of a method of gRPC.

    Attributes
    ----------
    kind
        Of a method its type of call.
    started, received, sent
        Of a method: calls, and messages of streams.
    """

    kind: TrafficKind
    text: str
    started: int = 0
    received: int = 0
    sent: int = 0


class AnswerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of one status from one place.

    Attributes
    ----------
    place
        Its index.
    status
        Of HTTP, or the code of gRPC.
    buckets
        Not summed up; one more than there are bounds.
    """

    place: int
    kind: TrafficKind
    status: int
    sum_ns: int
    buckets: tuple[int, ...]


class AreaCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one frontend counted.

    Attributes
    ----------
    in_progress
        Requests of HTTP at the moment, by `TrafficKind`.
    in_flight_sum, in_flight
        Requests for models on their way, as each new one found them with itself.
    """

    in_progress: tuple[int, ...]
    in_flight_sum: int
    in_flight: tuple[int, ...]
    places: tuple[PlaceCounts, ...]
    answers: tuple[AnswerCounts, ...]


class _Durations(NamedTuple):
    sum_ns: int = 0
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    def plus(self, sum_ns: int, buckets: tuple[int, ...]) -> "_Durations":
        added = (sum(pair) for pair in zip(self.buckets, buckets, strict=True))
        return _Durations(self.sum_ns + sum_ns, tuple(added))

    @property
    def observations(self) -> int:
        return sum(self.buckets)

    def samples(self, labels: Mapping[str, str], unit: int = _NS_PER_SECOND) -> Iterator[Sample]:
        return histogram_samples(
            labels, bounds=BOUNDS, counts=self.buckets, total=self.sum_ns / unit
        )


_Key = tuple[TrafficKind, str, int]  # text of the place, status
_Method = tuple[TrafficKind, str]


def traffic_families(areas: Iterable[AreaCounts], *, prefix: str) -> Iterator[Family]:
    """Return the families of all frontends together.

    Parameters
    ----------
    prefix
        MLServer's `metrics_rest_server_prefix`: how the families of HTTP begin.
    """
    areas = tuple(areas)
    answers = _answers(areas)
    http = {key: found for key, found in answers.items() if not key[0].is_call}
    calls = {key: found for key, found in answers.items() if key[0].is_call}
    yield from _http_families(areas, http, prefix)
    yield from _call_families(areas, calls)
    waiting = _Durations()
    for area in areas:
        waiting = waiting.plus(area.in_flight_sum, area.in_flight)
    if waiting.observations:
        yield Family(
            name="parallel_request_queue",
            kind=Kind.HISTOGRAM,
            help="counter of request queue size for workers",
            samples=tuple(waiting.samples({}, unit=1)),
        )


def _answers(areas: Iterable[AreaCounts]) -> dict[_Key, _Durations]:
    found: dict[_Key, _Durations] = {}
    for area in areas:
        for one in area.answers:
            key = (one.kind, area.places[one.place].text, one.status)
            found[key] = found.get(key, _Durations()).plus(one.sum_ns, one.buckets)
    return dict(sorted(found.items()))


def _http_families(
    areas: Iterable[AreaCounts], answers: Mapping[_Key, _Durations], prefix: str
) -> Iterator[Family]:
    seen = {kind for kind, _, _ in answers}
    in_progress = [
        Sample(labels={"app_name": _APP, "method": kind.name}, value=value)
        for kind in TrafficKind
        if (value := sum(area.in_progress[kind] for area in areas)) or kind in seen
        if not kind.is_call
    ]
    labelled = [
        (
            {"app_name": _APP, "method": kind.name, "path": text, "status_code": str(status)},
            found,
        )
        for (kind, text, status), found in answers.items()
    ]
    yield Family(
        name=f"{prefix}_requests_in_progress",
        kind=Kind.GAUGE,
        help="Total HTTP requests currently in progress",
        samples=tuple(in_progress),
    )
    yield Family(
        name=f"{prefix}_requests_total",
        kind=Kind.COUNTER,
        help="Total HTTP requests",
        samples=tuple(
            Sample(labels=labels, value=found.observations) for labels, found in labelled
        ),
    )
    yield Family(
        name=f"{prefix}_request_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="HTTP request duration, in seconds",
        samples=tuple(sample for labels, found in labelled for sample in found.samples(labels)),
    )


def _call_families(
    areas: Iterable[AreaCounts], answers: Mapping[_Key, _Durations]
) -> Iterator[Family]:
    for name, text, read in _MESSAGES:
        counts = _of_methods(areas, read)
        yield Family(
            name=name,
            kind=Kind.COUNTER,
            help=text,
            samples=tuple(
                Sample(labels=_call_labels(*method), value=value)
                for method, value in counts.items()
                if value
            ),
        )
    yield Family(
        name="grpc_server_handled_total",
        kind=Kind.COUNTER,
        help="Total number of RPCs completed on the server, regardless of success or failure.",
        samples=tuple(
            Sample(
                labels={**_call_labels(kind, path), "grpc_code": GrpcCode(code).name},
                value=found.observations,
            )
            for (kind, path, code), found in answers.items()
        ),
    )
    durations: dict[_Method, _Durations] = {}
    for (kind, path, _), found in answers.items():
        if kind is TrafficKind.UNARY:  # how long a stream lasts is its client's to say
            durations[kind, path] = durations.get((kind, path), _Durations()).plus(*found)
    yield Family(
        name="grpc_server_handling_seconds",
        kind=Kind.HISTOGRAM,
        help=(
            "Histogram of response latency (seconds) of gRPC that had been application-level "
            "handled by the server."
        ),
        samples=tuple(
            sample
            for method, found in durations.items()
            for sample in found.samples(_call_labels(*method))
        ),
    )


_MESSAGES: Final[tuple[tuple[str, str, Callable[[PlaceCounts], int]], ...]] = (
    (
        "grpc_server_started_total",
        "Total number of RPCs started on the server.",
        lambda place: place.started,
    ),
    (
        "grpc_server_msg_received_total",
        "Total number of RPC stream messages received on the server.",
        lambda place: place.received,
    ),
    (
        "grpc_server_msg_sent_total",
        "Total number of gRPC stream messages sent by the server.",
        lambda place: place.sent,
    ),
)


def _of_methods(
    areas: Iterable[AreaCounts], read: Callable[[PlaceCounts], int]
) -> dict[_Method, int]:
    sums: dict[_Method, int] = {}
    for area in areas:
        for place in area.places:
            if place.kind.is_call:
                key = (place.kind, place.text)
                sums[key] = sums.get(key, 0) + read(place)
    return dict(sorted(sums.items()))


def _call_labels(kind: TrafficKind, path: str) -> dict[str, str]:
    service, _, method = path.removeprefix("/").rpartition("/")
    return {"grpc_type": kind.name, "grpc_service": service, "grpc_method": method}
