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
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.model_metrics import ModelMetrics
from mpserve.telemetry.counters import InstanceCounts, ModelCounts
from mpserve.telemetry.snapshot import LoadCounts

LINGER_SECONDS: Final = 2.0
"""How long a removed queue is read after its last worker has gone: frontends may still have to
count the answers that it gave last."""

ENTRY_PREFIX: Final = "ledger/"
PAST_PREFIX: Final = "past/"
LOADS_PREFIX: Final = "loads/"
_NS_PER_SECOND: Final = 1_000_000_000


class _Noted(msgspec.Struct, kw_only=True):
    """What the checkpoint knows of a generation; the rest is counted in its queue."""

    version: VersionKey
    admitted_ns: int
    load_seconds: float = 0.0
    restarts: int = 0
    started: set[InstanceKey] = msgspec.field(default_factory=set)
    is_leaving: bool = False


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One generation whose queue is mapped."""

    noted: _Noted
    queue: ModelQueue


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    """What generations of a version have counted whose queues are gone."""

    version: VersionKey
    counts: ModelCounts = ModelCounts()
    restarts: int = 0


class Ledger:
    """Adds up what is counted, by version.

    Parameters
    ----------
    call_later
        The loop's.
    checkpoint
        What an earlier supervisor has added up.

    Attributes
    ----------
    model_metrics
        What models count themselves.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        call_later: Callable[[float, Callable[[], None]], object],
        checkpoint: Checkpoint,
    ) -> None:
        self._now_ns = now_ns
        self._call_later = call_later
        self._checkpoint = checkpoint
        self._entries: dict[Generation, _Entry] = {}
        self._past: dict[VersionKey, _Past] = {
            past.version: past for past in checkpoint.read_all(PAST_PREFIX, _Past).values()
        }
        self._begun_ns: dict[ModelName, int] = {}
        self._loads: dict[ModelName, LoadCounts] = {
            ModelName(name): loads
            for name, loads in checkpoint.read_all(LOADS_PREFIX, LoadCounts).items()
        }
        self.model_metrics = ModelMetrics(checkpoint)

    # --- what happens -----------------------------------------------------------------------------

    def opened(self, generation: Generation, version: VersionKey, queue: ModelQueue) -> None:
        """A generation begins to load, or an earlier supervisor has seen it begin."""
        known = self._checkpoint.read(f"{ENTRY_PREFIX}{generation}", _Noted)
        noted = known or _Noted(version=version, admitted_ns=self._now_ns())
        self._entries[generation] = _Entry(noted=noted, queue=queue)
        self._note(generation)

    def started(self, key: InstanceKey) -> None:
        """A worker starts; again, when one for this instance has before."""
        noted = self._entries[key.generation].noted
        if key in noted.started:
            noted.restarts += 1
        noted.started.add(key)
        self._note(key.generation)

    def serves(self, generation: Generation) -> None:
        """The routing table names a generation."""
        entry = self._entries.get(generation)
        if entry is not None and not entry.noted.load_seconds:
            took_ns = self._now_ns() - entry.noted.admitted_ns
            entry.noted.load_seconds = took_ns / _NS_PER_SECOND
            self._note(generation)

    def removed(self, generation: Generation) -> None:
        """A generation has no worker any more, and its queue no name. Unmaps it later."""
        self._keep_past(generation)
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
        self._checkpoint.put(f"{LOADS_PREFIX}{name}", self._loads[name])

    def close(self) -> None:
        """Unmap everything: the server ends."""
        for entry in self._entries.values():
            entry.queue.close()
        self._entries.clear()

    # --- what is asked ----------------------------------------------------------------------------

    def counts(self, version: VersionKey) -> ModelCounts:
        """Return what a version has counted since it was first loaded."""
        past = self._past.get(version, _Past(version=version)).counts
        return sum((entry.queue.counts() for entry in self._of(version)), past)

    def waiting(self, version: VersionKey) -> int:
        """Return how many of its requests wait."""
        return sum(entry.queue.waiting() for entry in self._of(version))

    def restarts(self, version: VersionKey) -> int:
        """Return how many of its workers were started again."""
        past = self._past.get(version, _Past(version=version)).restarts
        return past + sum(entry.noted.restarts for entry in self._of(version))

    def load_seconds(self, generation: Generation) -> float:
        """Return what the load of a generation took."""
        entry = self._entries.get(generation)
        return entry.noted.load_seconds if entry is not None else 0.0

    def instance_counts(self, key: InstanceKey) -> InstanceCounts | None:
        """Return what an instance has counted; `None` when its queue is gone."""
        entry = self._entries.get(key.generation)
        return entry.queue.instance_counts(key.index) if entry is not None else None

    def has_answered(self, key: InstanceKey) -> bool:
        """Tell whether the instance of this index has, in any generation that is not leaving."""
        counts = [
            entry.queue.instance_counts(key.index)
            for entry in self._entries.values()
            if entry.noted.version.name == key.name and not entry.noted.is_leaving
        ]
        return any(one.requests_ok or one.requests_failed for one in counts)

    def loads(self) -> tuple[LoadCounts, ...]:
        """Return the changes of all models, by name."""
        return tuple(self._loads[name] for name in sorted(self._loads))

    def _of(self, version: VersionKey) -> Iterable[_Entry]:
        return [entry for entry in self._entries.values() if entry.noted.version == version]

    def _fold(self, generation: Generation) -> None:
        """Keep what a queue counted, and unmap it. With its last one, a version is forgotten."""
        entry = self._entries.pop(generation, None)
        if entry is None:
            return
        version = entry.noted.version
        if all(one.noted.version.name != version.name for one in self._entries.values()):
            self.model_metrics.unloaded(version.name)
        past = self._past.pop(version, _Past(version=version))
        self._checkpoint.drop(f"{ENTRY_PREFIX}{generation}")
        if self._of(version):
            self._past[version] = _Past(
                version=version,
                counts=past.counts + entry.queue.counts(),
                restarts=past.restarts + entry.noted.restarts,
            )
            self._checkpoint.put(_past_key(version), self._past[version])
        else:
            self._checkpoint.drop(_past_key(version))
        entry.queue.close()

    def _keep_past(self, generation: Generation) -> None:
        """Note what queues without a name have counted: the next supervisor can not open them."""
        entry = self._entries.get(generation)
        if entry is None:
            return
        entry.noted.is_leaving = True
        version = entry.noted.version
        past = self._past.get(version, _Past(version=version))
        leaving = [one for one in self._of(version) if one.noted.is_leaving]
        self._checkpoint.put(
            _past_key(version),
            _Past(
                version=version,
                counts=sum((one.queue.counts() for one in leaving), past.counts),
                restarts=past.restarts + sum(one.noted.restarts for one in leaving),
            ),
        )
        self._checkpoint.drop(f"{ENTRY_PREFIX}{generation}")

    def _note(self, generation: Generation) -> None:
        self._checkpoint.put(f"{ENTRY_PREFIX}{generation}", self._entries[generation].noted)


def _past_key(version: VersionKey) -> str:
    return f"{PAST_PREFIX}{version.name}/{version.version}"
