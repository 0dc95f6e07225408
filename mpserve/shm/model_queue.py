"""The queue of requests of one generation of one model version."""

from collections.abc import Callable, Sequence
from typing import Self

from mpserve import _native
from mpserve.errors import ErrorCode
from mpserve.model.sequence import SequencePolicy
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.segment import PREFIX, Segment
from mpserve.telemetry.counters import InstanceCounts, ModelCounts
from mpserve.telemetry.latencies import LatencyRule

KIND = "queue"
SLOTS = 512  # requests that wait or run; more of them wait in the frontends. 64 KiB
MAX_INSTANCES: int = _native.MAX_INSTANCES
_LONGEST_IDLE_US = 31_536_000_000_000  # a year: no sum with a clock overflows
_SECOND_NS = 1_000_000_000


CallerRing = Callable[[int, int], CompletionRing | None]
"""Ring of the worker (process index, epoch) that calls models; `None` when it is gone."""


def no_callers(process_index: int, epoch: int) -> None:
    """Say that no worker calls models."""
    del process_index, epoch


Standing = tuple[list[tuple[int, bool, bool, int, int, int, int]], list[tuple[int, int, bool, int]]]


class ModelQueue:
    """A model queue over its segment, as the supervisor holds it.

    Attributes
    ----------
    name
        Segment name, for `attach` in another process.
    native
        The native object that frontends push into and workers pop from.
    """

    def __init__(
        self,
        segment: Segment,
        rings: Sequence[CompletionRing],
        wake_fds: Sequence[int],
        caller_ring: CallerRing,
    ) -> None:
        self._segment = segment
        self._caller_ring = caller_ring
        self._rings = [ring.native for ring in rings]
        self._wake_fds = list(wake_fds)
        self.name = segment.name
        self.native: _native.ModelQueue = _native.ModelQueue(segment)

    @classmethod
    def create(
        cls,
        server_id: str,
        generation: int,
        *,
        rings: Sequence[CompletionRing],
        wake_fds: Sequence[int],
        slots: int = SLOTS,
        caller_ring: CallerRing = no_callers,
        sequences: SequencePolicy | None = None,
        latencies: LatencyRule = LatencyRule(),  # noqa: B008  frozen
    ) -> Self:
        """Make an empty queue.

        Parameters
        ----------
        rings, wake_fds
            Of all frontends, in their order: where requests of dead instances are answered.
        slots
            Requests that may wait or run.
        caller_ring
            Where requests of workers are answered.
        sequences
            When requests belong to sequences.
        latencies
            Which are kept.
        """
        held = sequences.slots if sequences is not None else 0
        idle_us = min(sequences.idle_us, _LONGEST_IDLE_US) if sequences is not None else 0
        size = _native.ModelQueue.required_bytes(slots, held, latencies.keeps_any)
        segment = Segment.create(server_id, f"{KIND}{generation}", size)
        _native.ModelQueue.format(
            segment,
            slots,
            generation,
            held,
            idle_us * 1000,
            latencies.summaries,
            list(latencies.first_bounds_ms),
        )
        return cls(segment, rings, wake_fds, caller_ring)

    @classmethod
    def adopt(
        cls,
        server_id: str,
        generation: int,
        *,
        rings: Sequence[CompletionRing],
        wake_fds: Sequence[int],
        caller_ring: CallerRing,
    ) -> Self:
        """Map a queue that an earlier supervisor made, to own it; parameters as for `create`.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        segment = Segment.attach(queue_segment(server_id, generation))
        return cls(segment, rings, wake_fds, caller_ring)

    @classmethod
    def attach(cls, name: str) -> Self:
        """Map a queue to push into or pop from it."""
        return cls(Segment.attach(name), (), (), no_callers)

    def retire(self) -> None:
        """Take no more requests; instances stop when what waits is done."""
        self.native.retire()

    def retire_instance(self, slot: int) -> None:
        """Let one instance finish what it runs and then stop."""
        self.native.retire_instance(slot)

    def is_drained(self) -> bool:
        """Tell whether nothing waits and nothing runs."""
        return self.native.is_drained()

    def running_since_ns(self, slot: int, epoch: int) -> int:
        """Return when an instance took the oldest request that it holds; 0 when it holds none."""
        return self.native.running_since_ns(slot, epoch)

    def reap_instance(self, slot: int, epoch: int, *, overdue_seconds: float = 0.0) -> int:
        """Answer what a dead instance held with `UNAVAILABLE`; return how many.

        Wakes another instance when requests wait, and every frontend.

        Parameters
        ----------
        overdue_seconds
            The limit of an execution for which it was killed; 0 when it died by itself.
        """
        return self.native.reap_instance(
            slot,
            epoch,
            self._rings,
            self._wake_fds,
            self._native_ring_of_caller,
            int(overdue_seconds * _SECOND_NS),
        )

    def reap_frontend(self, process_index: int, epoch: int, *, ring_index: int) -> int:
        """Drop what a dead frontend, or a worker that called, left waiting; return how many."""
        return self.native.reap_frontend(process_index, epoch, ring_index)

    def answer_waiting(self, code: ErrorCode) -> int:
        """Answer all that waits with `code`: no instance will come back; return how many."""
        return self.native.answer_waiting(int(code), self._rings, self._wake_fds, self._caller_ring)

    def tell_sent(self, slot: int, *, caller: int, requests: int, waits_from_ns: int) -> None:
        """Say what the instance at `slot` waits for; see `dispatch.deadlock.InstanceStanding`."""
        self.native.tell_sent(slot, caller, requests, waits_from_ns)

    def look(self, *, first_caller_ring: int) -> Standing:
        """Return instances and requests of workers, as `dispatch.deadlock` has them.

        Parameters
        ----------
        first_caller_ring
            Rings from this index on are workers'.
        """
        return self.native.look(first_caller_ring)

    def generation(self) -> int:
        """Return whose requests it holds."""
        return self.native.generation

    def has_sequences(self) -> bool:
        """Tell whether requests belong to sequences, each held by one instance."""
        return self.native.has_sequences

    def live_sequences(self) -> int:
        """Return the sequences that go on, or whose requests are not all done."""
        return self.native.live_sequences()

    def depth(self) -> int:
        """Return the number of requests that wait."""
        return self.native.depth()

    def running(self) -> int:
        """Return the number of requests that instances hold."""
        return self.native.running()

    def _native_ring_of_caller(
        self, process_index: int, epoch: int
    ) -> _native.CompletionRing | None:
        ring = self._caller_ring(process_index, epoch)
        return None if ring is None else ring.native

    def counts(self) -> ModelCounts:
        """Return what was counted since the queue was made, over all frontends and instances."""
        return ModelCounts.from_core(self.native.counts())

    def waiting(self) -> int:
        """Return the requests that wait: in the queue, or for room in it."""
        waiting: int = self.native.counts()["waiting"]
        return waiting

    def instance_counts(self, slot: int) -> InstanceCounts:
        """Return what the instance at `slot` counted."""
        return InstanceCounts(**self.native.instance_counts(slot))

    def close(self) -> None:
        """Unmap; the object can not be used afterwards."""
        del self.native
        self._segment.close()

    def close_unless_used(self) -> bool:
        """Unmap, unless a port or a route still looks into the queue; tell whether it was done.

        The object can be used for nothing else afterwards, but for trying again.
        """
        self.__dict__.pop("native", None)
        try:
            self._segment.close()
        except BufferError:
            return False
        return True

    def unlink(self) -> None:
        """Remove the segment's name."""
        self._segment.unlink()


def queue_segment(server_id: str, generation: int) -> str:
    """Return the name of the segment of a generation's queue."""
    return f"{PREFIX}{server_id}-{KIND}{generation}"
