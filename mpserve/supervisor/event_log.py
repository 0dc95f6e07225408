"""The last transitions of all models: a ring that clients may read.

Guarantees
    Numbers have no gap. Memory is bounded: the oldest events are forgotten.
Owner
    The supervisor; all methods are called from its event loop.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from mpserve.lifecycle.actions import (
    Action,
    BeginOperation,
    StartInstance,
    WithdrawEnsemble,
    WithdrawGeneration,
)
from mpserve.lifecycle.actual import Actual
from mpserve.lifecycle.events import Event, InstanceEnded, InstanceReady
from mpserve.lifecycle.journal import Transition, model_of, transitions
from mpserve.model.event import EventPage, Origin, RepositoryEvent
from mpserve.model.identity import Generation, ModelName
from mpserve.supervisor.checkpoint import Checkpoint

EVENT_PREFIX: Final = "event/"
KEPT_EVENTS: Final = 4096  # about 1 MiB; some hundred loads of a large repository
_MS_NS: Final = 1_000_000

_Place = tuple[Generation, int | None]
_CRASHES: Final = (InstanceEnded, InstanceReady, StartInstance, WithdrawGeneration)
"""Without an operation of the model, these come of a death."""


class EventLog:
    """Takes what the lifecycle observes, keeps the transitions in it.

    Parameters
    ----------
    now_ns
        Monotonic clock, for how long a state lasted.
    unix_ns
        Wall clock.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        unix_ns: Callable[[], int],
        checkpoint: Checkpoint,
        kept: int = KEPT_EVENTS,
    ) -> None:
        self._now_ns = now_ns
        self._unix_ns = unix_ns
        self._checkpoint = checkpoint
        known = checkpoint.read_all(EVENT_PREFIX, RepositoryEvent).values()
        self._events = deque(sorted(known, key=lambda one: one.number), maxlen=kept)
        self._last = self._events[-1].number if self._events else 0
        self._origins: dict[ModelName, Origin] = {}  # of the operation begun last
        self._entered_ns: dict[_Place, int] = {}  # of what is still there

    def observed(self, before: Actual, after: Actual, happened: Event | Action) -> None:
        """Note the transitions that `happened` made."""
        if isinstance(happened, BeginOperation):
            self._origins[happened.wish.name] = happened.wish.origin
        elif isinstance(happened, WithdrawEnsemble):
            self._origins[happened.name] = happened.origin
        name = model_of(happened)
        if name is None or name not in after.models:
            return
        known, model = before.models.get(name), after.models[name]
        is_alone = model.operation is None and isinstance(happened, _CRASHES)
        origin = Origin.CRASH if is_alone else self._origins.get(name, Origin.CRASH)
        for one in transitions(known, model):
            self._note(name, one, origin)
        if known is not None:
            gone = {one.generation for one in known.generations}
            self._forget(gone.difference(one.generation for one in model.generations))

    def begun(self, origins: Mapping[ModelName, Origin]) -> None:
        """Note who made the wishes that an earlier supervisor began to carry out."""
        self._origins.update(origins)

    def refused(self, name: ModelName, *, origin: Origin, why: str) -> None:
        """Note that a model should have been loaded and can not be read: nothing changed."""
        self._append(
            RepositoryEvent(
                number=self._next_number(),
                at_unix_ns=self._unix_ns(),
                model=name,
                version="",
                generation=0,
                instance=None,
                asked_by=origin,
                from_state=None,
                to=None,
                took_ms=0,
                why=why,
            )
        )

    def page(self, *, model: str, since: int) -> EventPage:
        """Return the events after number `since` of one model, "" for all."""
        return EventPage(
            first=self._events[0].number if self._events else 0,
            last=self._last,
            events=tuple(
                one
                for one in self._events
                if one.number > since and (not model or one.model == model)
            ),
        )

    def _note(self, name: ModelName, one: Transition, origin: Origin) -> None:
        now_ns = self._now_ns()
        whole = self._entered_ns.get((one.generation, None), now_ns)
        entered_ns = self._entered_ns.get((one.generation, one.instance), whole)
        self._entered_ns[one.generation, one.instance] = now_ns
        self._append(
            RepositoryEvent(
                number=self._next_number(),
                at_unix_ns=self._unix_ns(),
                model=name,
                version=one.version,
                generation=one.generation,
                instance=one.instance,
                asked_by=origin,
                from_state=one.from_state,
                to=one.to,
                took_ms=0 if one.from_state is None else (now_ns - entered_ns) // _MS_NS,
                why=one.why,
            )
        )

    def _append(self, event: RepositoryEvent) -> None:
        self._events.append(event)
        assert self._events.maxlen is not None, "the ring is bounded"
        self._checkpoint.note(f"{EVENT_PREFIX}{event.number % self._events.maxlen}", event)

    def _next_number(self) -> int:
        self._last += 1
        return self._last

    def _forget(self, gone: set[Generation]) -> None:
        if gone:
            self._entered_ns = {
                place: at_ns for place, at_ns in self._entered_ns.items() if place[0] not in gone
            }
