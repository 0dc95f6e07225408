"""Counts of what clients asked: written by each frontend in an area of its own, read by one."""

from typing import Final, Self

from mpserve import _native
from mpserve._native import Traffic
from mpserve.dialect import DIALECTS
from mpserve.settings import Settings
from mpserve.shm.segment import PREFIX, Segment
from mpserve.telemetry.traffic import AnswerCounts, AreaCounts, PlaceCounts, TrafficKind

__all__ = ["Traffic", "TrafficBoard", "counts_traffic"]

KIND: Final = "traffic"
BOUNDS_MS: Final = _native.TRAFFIC_BOUNDS_MS


def counts_traffic(settings: Settings) -> bool:
    """Tell whether there is a board: the metrics tell what is counted there."""
    return settings.allow_metrics and DIALECTS[settings.dialect].counts_traffic


class TrafficBoard:
    """The counts over their segment. The supervisor makes it."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    @classmethod
    def create(cls, server_id: str, areas: int) -> Self:
        """Make an empty board for so many frontends; raises `ArenaFull` when there is no room."""
        segment = Segment.create(server_id, KIND, Traffic.required_bytes(areas))
        Traffic.format(segment, areas)
        return cls(segment)

    @classmethod
    def attach(cls, server_id: str) -> Self:
        """Map the board of a running server."""
        return cls(Segment.attach(f"{PREFIX}{server_id}-{KIND}"))

    def traffic(self, area: int) -> Traffic:
        """Return a frontend's hand on its area; what its predecessor had in progress is over."""
        return Traffic(self._segment, area)

    def read(self) -> tuple[AreaCounts, ...]:
        """Return what was counted, by frontend."""
        return tuple(
            AreaCounts(
                in_progress=in_progress,
                in_flight_sum=in_flight[0],
                in_flight=in_flight[1],
                places=tuple(_place(*one) for one in places),
                answers=tuple(_answer(*one) for one in rows),
            )
            for in_progress, in_flight, places, rows in Traffic.read(self._segment)
        )

    def close(self) -> None:
        """Unmap; the object can not be used afterwards."""
        self._segment.close()

    def unlink(self) -> None:
        """Remove the segment's name."""
        self._segment.unlink()


def _place(kind: int, text: str, started: int, received: int, sent: int) -> PlaceCounts:
    return PlaceCounts(
        kind=TrafficKind(kind), text=text, started=started, received=received, sent=sent
    )


def _answer(
    place: int, kind: int, status: int, sum_ns: int, buckets: tuple[int, ...]
) -> AnswerCounts:
    return AnswerCounts(
        place=place, kind=TrafficKind(kind), status=status, sum_ns=sum_ns, buckets=buckets
    )
