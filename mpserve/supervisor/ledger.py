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
from typing import Final, Self

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
LEFT_PREFIX: Final = "left/"
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
    """What generations of a version have counted whose queues are gone.

    Attributes
    ----------
    last
        The generation that was added last.
    """

    version: VersionKey
    counts: ModelCounts = ModelCounts()
    restarts: int = 0
    last: Generation = Generation(0)

    def with_generation(self, generation: Generation, entry: _Entry) -> Self:
        """Return what was counted with this generation, too."""
        return msgspec.structs.replace(
            self,
            counts=self.counts + entry.queue.counts(),
            restarts=self.restarts + entry.noted.restarts,
            last=generation,
        )


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
        self._of_model: dict[ModelName, dict[Generation, _Entry]] = {}
        self._past = self._taken_over()
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
        entry = _Entry(noted=noted, queue=queue)
        self._entries[generation] = entry
        self._of_model.setdefault(version.name, {})[generation] = entry
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
        self._checkpoint.note(f"{LOADS_PREFIX}{name}", self._loads[name])

    def close(self) -> None:
        """Unmap everything: the server ends."""
        for entry in self._entries.values():
            entry.queue.close()
        self._entries.clear()
        self._of_model.clear()

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
            for entry in self._of_model.get(key.name, {}).values()
            if not entry.noted.is_leaving
        ]
        return any(one.requests_ok or one.requests_failed for one in counts)

    def loads(self) -> tuple[LoadCounts, ...]:
        """Return the changes of all models, by name."""
        return tuple(self._loads[name] for name in sorted(self._loads))

    def _of(self, version: VersionKey) -> Iterable[_Entry]:
        of_model = self._of_model.get(version.name, {}).values()
        return [entry for entry in of_model if entry.noted.version == version]

    def _fold(self, generation: Generation) -> None:
        """Keep what a queue counted, and unmap it. With its last one, a version is forgotten."""
        entry = self._entries.pop(generation, None)
        if entry is None:
            return
        version = entry.noted.version
        of_model = self._of_model[version.name]
        del of_model[generation]
        if not of_model:
            del self._of_model[version.name]
            self.model_metrics.unloaded(version.name)
        past = self._past.pop(version, _Past(version=version))
        if self._of(version):
            self._past[version] = past.with_generation(generation, entry)
            self._checkpoint.note(_past_key(version), self._past[version])
        else:
            self._checkpoint.drop(_past_key(version))
        self._checkpoint.drop(f"{LEFT_PREFIX}{generation}")
        entry.queue.close()

    def _keep_past(self, generation: Generation) -> None:
        """Note what queues without a name have counted: the next supervisor can not open them."""
        entry = self._entries.get(generation)
        if entry is None:
            return
        entry.noted.is_leaving = True
        left = _Past(version=entry.noted.version).with_generation(generation, entry)
        self._checkpoint.note(f"{LEFT_PREFIX}{generation}", left)
        self._checkpoint.drop(f"{ENTRY_PREFIX}{generation}")

    def _taken_over(self) -> dict[VersionKey, _Past]:
        """Return what an earlier supervisor has added up, with what it had left to add."""
        past = {one.version: one for one in self._checkpoint.read_all(PAST_PREFIX, _Past).values()}
        for number, left in self._checkpoint.read_all(LEFT_PREFIX, _Past).items():
            known = past.get(left.version, _Past(version=left.version))
            if known.last != left.last:  # it died between adding this and dropping it
                past[left.version] = msgspec.structs.replace(
                    known,
                    counts=known.counts + left.counts,
                    restarts=known.restarts + left.restarts,
                    last=left.last,
                )
                self._checkpoint.note(_past_key(left.version), past[left.version])
            self._checkpoint.drop(f"{LEFT_PREFIX}{number}")
        return past

    def _note(self, generation: Generation) -> None:
        self._checkpoint.note(f"{ENTRY_PREFIX}{generation}", self._entries[generation].noted)


def _past_key(version: VersionKey) -> str:
    return f"{PAST_PREFIX}{version.name}/{version.version}"
