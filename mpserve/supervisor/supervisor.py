"""The loop of the supervisor: take an event, observe it, plan, carry out, publish.

Guarantees
    Everything is decided in `lifecycle.plan`; here nothing is. Events that arrive in one turn of
    the loop are planned on together.
Owner
    Holds `Wanted` and `Actual`. All methods are called from the event loop's thread.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from mpserve.errors import Failure, ShuttingDown
from mpserve.lifecycle.actions import Action, CheckFolder, PublishTable, SettleWish
from mpserve.lifecycle.actual import Actual
from mpserve.lifecycle.events import (
    Event,
    GenerationsHeld,
    LoadRefused,
    SequencesEnded,
    TableAcknowledged,
)
from mpserve.lifecycle.observation import observe
from mpserve.lifecycle.plan import Limits, next_moment_ns, plan
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.transitions import Phase
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.definition import ModelDefinition
from mpserve.model.event import Origin
from mpserve.model.identity import Generation, ModelName
from mpserve.repository import Refusal
from mpserve.settings import Settings
from mpserve.supervisor.callers import Callers
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.definition_memory import DefinitionMemory
from mpserve.supervisor.effects import Effects
from mpserve.supervisor.event_log import EventLog
from mpserve.supervisor.ledger import Ledger
from mpserve.supervisor.lifecycle_memory import WITH_DEFINITIONS, LifecycleMemory
from mpserve.supervisor.processes import ChildRecord, Processes
from mpserve.supervisor.publication import DESCRIBED_PREFIX
from mpserve.supervisor.sequence_watch import SequenceWatch
from mpserve.supervisor.shared_places import ServerMemory
from mpserve.supervisor.workers import Workers

_SECOND_NS: Final = 1_000_000_000

Settlement = asyncio.Future[Failure | None]


class Supervisor:
    """Wanted and actual, and the loop that brings them together."""

    def __init__(
        self,
        *,
        settings: Settings,
        processes: Processes,
        memory: ServerMemory,
        checkpoint: Checkpoint,
        now_ns: Callable[[], int],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.ledger = Ledger(now_ns=now_ns, call_later=self._loop.call_later, checkpoint=checkpoint)
        self.callers = Callers(memory, processes)
        self.workers = Workers(
            processes=processes,
            memory=memory,
            settings=settings,
            ledger=self.ledger,
            callers=self.callers,
            tell=self.tell,
            now_ns=now_ns,
        )
        self._sequences = SequenceWatch(
            live_sequences=self.workers.live_sequences,
            call_later=self._loop.call_later,
            ended=self._tell_sequences_ended,
        )
        self._publish: Callable[[PublishTable], None] = _nobody_listens
        self._check: Callable[[CheckFolder], None] = _nobody_listens
        self._effects = Effects(
            workers=self.workers,
            ledger=self.ledger,
            publish=self._publish_table,
            check_folder=self._check_folder,
            linger=self._sequences.add,
            settle=self._settle,
            tell=self.tell,
            now_ns=now_ns,
        )
        self._checkpoint = checkpoint
        self.definitions = DefinitionMemory(checkpoint, (*WITH_DEFINITIONS, DESCRIBED_PREFIX))
        self._memory = LifecycleMemory(checkpoint, self.definitions)
        self.events = EventLog(now_ns=now_ns, unix_ns=time.time_ns, checkpoint=checkpoint)
        self._now_ns = now_ns
        self._policy = RestartPolicy()
        self._limits = _limits(settings)
        self._actual = self._memory.actual()
        self._wanted = self._memory.wanted(self._actual)
        self._last_wish = self._memory.last_wish()
        self._settlements: dict[ModelName, list[tuple[int, Settlement]]] = {}
        self._conditions: list[tuple[Callable[[Actual], bool], asyncio.Future[None]]] = []
        self._is_planning_due = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def actual(self) -> Actual:
        """What is."""
        return self._actual

    @property
    def wanted(self) -> Wanted:
        """What is wanted."""
        return self._wanted

    def publish_by(self, publish: Callable[[PublishTable], None]) -> None:
        """Give the rows of the routing table to `publish` from now on."""
        self._publish = publish

    def check_folders_by(self, check: Callable[[CheckFolder], None]) -> None:
        """Let `check` look at folders from now on; it tells `FolderChecked`."""
        self._check = check

    def change(self, settings: Settings) -> None:
        """Go on by `settings`: limits of loads and drains, also of those that go on."""
        self.workers.settings = settings
        self._limits = _limits(settings)
        self._plan_soon()

    def take_over(self, records: Iterable[ChildRecord]) -> None:
        """Go on where an earlier supervisor was when it died."""
        self.events.begun({wish.name: wish.origin for wish in self._wanted.wishes.values()})
        self.workers.adopt(self._actual, records)
        for model in self._actual.models.values():
            for one in model.generations:
                if one.phase is Phase.LINGERING:
                    self._sequences.add(model.name, one.generation)
        self._plan_soon()

    def wish(
        self,
        name: ModelName,
        definition: ModelDefinition | None,
        *,
        origin: Origin,
        is_pulled: bool = False,
    ) -> Settlement:
        """Want `name` to be served as defined, or not at all; the future says how that ended.

        Parameters
        ----------
        is_pulled
            It is wanted for an ensemble only.
        """
        self._last_wish += 1
        number = self._last_wish
        settlement: Settlement = self._loop.create_future()
        self._settlements.setdefault(name, []).append((number, settlement))
        wish = Wish(
            number=number,
            name=name,
            definition=definition,
            origin=origin,
            is_pulled=is_pulled,
        )
        self._wanted = self._wanted.with_wish(wish)
        self._memory.wished(wish)
        self._plan_soon()
        return settlement

    def end(self) -> None:
        """Want nothing any more; `is_empty` becomes true when all workers have ended."""
        self._wanted = self._wanted.ended()
        self._plan_soon()

    def refuse_open_wishes(self) -> None:
        """Answer all wishes that are still open: the server ends. What serves goes on serving."""
        failure = ShuttingDown("Server not ready").failure()
        for rows in self._settlements.values():
            for _, settlement in rows:
                if not settlement.done():
                    settlement.set_result(failure)
        self._settlements.clear()

    def abandon(self) -> None:
        """Answer all wishes that are still open, and want nothing any more."""
        self.refuse_open_wishes()
        self.end()

    def tell(self, event: Event) -> None:
        """Take what happened."""
        self._observe(event)
        self._plan_soon()

    def refused(self, name: ModelName, refusal: Refusal) -> None:
        """Versions that were to be loaded and can not be are not available, and say why."""
        versions, reason = refusal.versions, refusal.reason
        self.tell(LoadRefused(name=name, versions=versions, failure=reason))

    def acknowledged(self, number: int) -> None:
        """All living frontends know the table of this number."""
        if number > self._actual.acknowledged:
            self.tell(TableAcknowledged(number=number))

    def held(self, generations: frozenset[Generation]) -> None:
        """Requests of ensembles still use these generations and no others; told before a number."""
        if generations != self._actual.held:
            self.tell(GenerationsHeld(generations=generations))

    async def until(self, condition: Callable[[Actual], bool]) -> None:
        """Wait until `condition` holds."""
        if condition(self._actual):
            return
        met: asyncio.Future[None] = self._loop.create_future()
        self._conditions.append((condition, met))
        try:
            await met
        finally:
            self._conditions = [row for row in self._conditions if row[1] is not met]

    def _plan_soon(self) -> None:
        if not self._is_planning_due:
            self._is_planning_due = True
            self._loop.call_soon(self._plan)

    def _plan(self) -> None:
        self._is_planning_due = False
        while actions := plan(
            self._wanted, self._actual, now_ns=self._now_ns(), limits=self._limits
        ):
            after = [self._observe(action) for action in actions]
            self._checkpoint.flush()
            for action, actual in zip(actions, after, strict=True):
                self._effects.carry_out(action, actual)
        self._checkpoint.flush()
        self._set_timer()
        self._meet_conditions()

    def _observe(self, happened: Event | Action) -> Actual:
        before = self._actual
        self._actual = observe(before, happened, policy=self._policy)
        self._memory.observed(before, self._actual, happened)
        self.events.observed(before, self._actual, happened)
        return self._actual

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        moment_ns = next_moment_ns(self._wanted, self._actual)
        if moment_ns is not None:
            delay_ns = max(moment_ns - self._now_ns(), 0)
            # A loop's clock may be coarser than ours; early, it would only plan for nothing.
            self._timer = self._loop.call_later(delay_ns / _SECOND_NS + 0.001, self._plan_soon)

    def _meet_conditions(self) -> None:
        for condition, met in self._conditions:
            if not met.done() and condition(self._actual):
                met.set_result(None)

    def _tell_sequences_ended(self, name: ModelName, generation: Generation) -> None:
        self.tell(SequencesEnded(name=name, generation=generation))

    def _publish_table(self, action: PublishTable) -> None:
        self._publish(action)

    def _check_folder(self, action: CheckFolder) -> None:
        self._check(action)

    def _settle(self, action: SettleWish) -> None:
        self._wanted = self._wanted.settled(action.name, action.number)
        waiting = self._settlements.pop(action.name, [])
        later = [row for row in waiting if row[0] > action.number]
        if later:
            self._settlements[action.name] = later
        for number, settlement in waiting:
            if number <= action.number and not settlement.done():
                settlement.set_result(action.failure)


def _limits(settings: Settings) -> Limits:
    return Limits(
        loading_versions=settings.model_load_thread_count,
        retries=settings.model_load_retry_count,
        load_timeout_ns=settings.model_load_timeout_secs * _SECOND_NS,
        drain_timeout_ns=settings.model_drain_timeout_secs * _SECOND_NS,
    )


def is_empty(actual: Actual) -> bool:
    """Return whether no generation is left: no worker runs."""
    return not any(model.generations for model in actual.models.values())


def is_gone(actual: Actual, name: ModelName) -> bool:
    """Return whether nothing of a model is left but its rows in the index."""
    model = actual.models.get(name)
    return model is None or not model.generations


def directories_in_use(wanted: Wanted, actual: Actual) -> Iterable[str]:
    """Return the model directories that something is loaded from, or is about to be."""
    for name, wish in wanted.wishes.items():
        model = actual.models.get(name)
        is_open = model is None or wish.number > model.settled
        if wish.definition is not None and is_open:
            yield wish.definition.directory
    for model in actual.models.values():
        for record in model.generations:
            yield record.definition.directory


def _nobody_listens(_action: Action) -> None:
    raise AssertionError("something is done before anybody listens")
