"""What models have counted, over all their generations and workers.

Guarantees
    The counts of a version never go down from its first load to its unload: when a queue is
    removed, what it counted is kept, and its memory is looked at once more after the last answer
    may have been counted there.
Owner
    The supervisor, on its loop's thread. Nobody waits for it: frontends and workers count in the
    queues' shared memory.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec

from mpserve.model.identity import Generation, InstanceKey, ModelName, VersionKey
from mpserve.shm.model_queue import ModelQueue
from mpserve.telemetry.counters import InstanceCounts, ModelCounts
from mpserve.telemetry.snapshot import LoadCounts

LINGER_SECONDS: Final = 2.0
"""How long a removed queue is read after its last worker has gone: frontends may still have to
count the answers that it gave last."""

_NS_PER_SECOND: Final = 1_000_000_000


class _Entry(msgspec.Struct, kw_only=True):
    """One generation whose queue is mapped."""

    version: VersionKey
    queue: ModelQueue
    admitted_ns: int
    load_seconds: float = 0.0
    restarts: int = 0
    started: set[InstanceKey] = msgspec.field(default_factory=set)


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    """What generations of a version have counted whose queues are gone."""

    counts: ModelCounts = ModelCounts()
    restarts: int = 0


class Ledger:
    """Adds up what is counted, by version.

    Parameters
    ----------
    call_later
        The loop's.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._now_ns = now_ns
        self._call_later = call_later
        self._entries: dict[Generation, _Entry] = {}
        self._past: dict[VersionKey, _Past] = {}
        self._begun_ns: dict[ModelName, int] = {}
        self._loads: dict[ModelName, LoadCounts] = {}

    # --- what happens -----------------------------------------------------------------------------

    def opened(self, generation: Generation, version: VersionKey, queue: ModelQueue) -> None:
        """A generation begins to load."""
        self._entries[generation] = _Entry(version=version, queue=queue, admitted_ns=self._now_ns())

    def started(self, key: InstanceKey) -> None:
        """A worker starts; again, when one for this instance has before."""
        entry = self._entries[key.generation]
        if key in entry.started:
            entry.restarts += 1
        entry.started.add(key)

    def serves(self, generation: Generation) -> None:
        """The routing table names a generation."""
        entry = self._entries.get(generation)
        if entry is not None and not entry.load_seconds:
            entry.load_seconds = (self._now_ns() - entry.admitted_ns) / _NS_PER_SECOND

    def removed(self, generation: Generation) -> None:
        """A generation has no worker any more, and its queue no name. Unmaps it later."""
        self._call_later(LINGER_SECONDS, partial(self._fold, generation))

    def begun(self, name: ModelName) -> None:
        """A change of a model begins."""
        self._begun_ns[name] = self._now_ns()

    def settled(self, name: ModelName, *, succeeded: bool) -> None:
        """The change that had begun has ended; one that had nothing to do never began."""
        begun_ns = self._begun_ns.pop(name, None)
        if begun_ns is None:
            return
        before = self._loads.get(name, LoadCounts(model=name))
        self._loads[name] = msgspec.structs.replace(
            before,
            succeeded=before.succeeded + succeeded,
            failed=before.failed + (not succeeded),
            seconds=before.seconds + (self._now_ns() - begun_ns) / _NS_PER_SECOND,
        )

    def close(self) -> None:
        """Unmap everything: the server ends."""
        for entry in self._entries.values():
            entry.queue.close()
        self._entries.clear()

    # --- what is asked ----------------------------------------------------------------------------

    def counts(self, version: VersionKey) -> ModelCounts:
        """Return what a version has counted since it was first loaded."""
        past = self._past.get(version, _Past()).counts
        return sum((entry.queue.counts() for entry in self._of(version)), past)

    def waiting(self, version: VersionKey) -> int:
        """Return how many of its requests wait."""
        return sum(entry.queue.waiting() for entry in self._of(version))

    def restarts(self, version: VersionKey) -> int:
        """Return how many of its workers were started again."""
        past = self._past.get(version, _Past()).restarts
        return past + sum(entry.restarts for entry in self._of(version))

    def load_seconds(self, generation: Generation) -> float:
        """Return what the load of a generation took."""
        entry = self._entries.get(generation)
        return entry.load_seconds if entry is not None else 0.0

    def instance_counts(self, key: InstanceKey) -> InstanceCounts | None:
        """Return what an instance has counted; `None` when its queue is gone."""
        entry = self._entries.get(key.generation)
        return entry.queue.instance_counts(key.index) if entry is not None else None

    def loads(self) -> tuple[LoadCounts, ...]:
        """Return the changes of all models, by name."""
        return tuple(self._loads[name] for name in sorted(self._loads))

    def _of(self, version: VersionKey) -> Iterable[_Entry]:
        return [entry for entry in self._entries.values() if entry.version == version]

    def _fold(self, generation: Generation) -> None:
        """Keep what a queue counted, and unmap it. With its last one, a version is forgotten."""
        entry = self._entries.pop(generation, None)
        if entry is None:
            return
        version = entry.version
        past = self._past.pop(version, _Past())
        if self._of(version):
            self._past[version] = _Past(
                counts=past.counts + entry.queue.counts(), restarts=past.restarts + entry.restarts
            )
        entry.queue.close()
