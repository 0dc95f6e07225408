"""Frontend processes: started once the server has loaded, kept alive, told the routing table.

Guarantees
    A frontend gets the whole table before anything else. A number counts as acknowledged when every
    living frontend has acknowledged it. One that has not even read its socket for `SILENT_SECONDS`
    hangs, and is ended; one that has, and waits for room in a queue, is waited for.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec

from mpserve.control.message import Message
from mpserve.control.messages import (
    CallDone,
    EventsCall,
    EventsReply,
    FromFrontend,
    FrontendFailed,
    FrontendReady,
    FrontendStart,
    IndexCall,
    IndexReply,
    LoadCall,
    LoggingCall,
    LoggingReply,
    PublishTable,
    StopFrontend,
    TableAcknowledged,
    UnloadCall,
)
from mpserve.control.region_messages import (
    PublishRegions,
    RegionCall,
    RegionsAcknowledged,
    RegisterRegionCall,
    UnregisterRegionsCall,
)
from mpserve.control.setting_messages import ChangeSettings, SettingsTaken
from mpserve.control.trace_messages import SetTracing, TraceCall, TraceReply
from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns
from mpserve.model.identity import Generation
from mpserve.model.region import RegionId
from mpserve.model.trace_setting import TraceRow
from mpserve.settings import Settings, encode_settings
from mpserve.shm.sweep import sweep_process
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.entrypoints import FRONTEND
from mpserve.supervisor.processes import Child, ChildEnd, ChildRecord, Processes
from mpserve.supervisor.shared_places import ProcessIdentity, ServerMemory
from mpserve.telemetry import log

SILENT_SECONDS: Final = 30.0  # far beyond any turn of its loop
UNKNOWN: Final = -1  # no number was acknowledged yet
POLICY: Final = RestartPolicy()
PLACE_PREFIX: Final = "frontend/"

RepositoryCall = LoadCall | UnloadCall | IndexCall | EventsCall
Call = RepositoryCall | LoggingCall | TraceCall | RegionCall
Answer = Callable[[CallDone | IndexReply | EventsReply | LoggingReply | TraceReply], None]


class FrontendPlace(msgspec.Struct, kw_only=True):
    """One of the N places for a frontend and who is in it."""

    index: int
    process: ProcessIdentity | None = None
    child: Child | None = None
    acknowledged: int = -1
    held: frozenset[Generation] = frozenset()
    regions_number: int = 0
    settings_number: int = 0
    settings_fault: str = ""
    regions_in_use: frozenset[RegionId] = frozenset()
    is_ready: bool = False
    starts: int = 0
    deaths: Deaths = Deaths()
    failure: Failure | None = None


class PlaceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the checkpoint; `http_port` is what the system chose when it was to choose."""

    starts: int
    http_port: int


class FrontendOwner:
    """What the supervisor gives the frontends: where to go with what they say."""

    def __init__(
        self,
        *,
        whole_table: Callable[[], PublishTable],
        acknowledged: Callable[[int], None],
        held: Callable[[frozenset[Generation]], None],
        whole_regions: Callable[[], PublishRegions],
        regions_settled: Callable[[int, frozenset[RegionId]], None],
        called: Callable[[Call, Answer], None],
        died: Callable[[ProcessIdentity], None],
        gave_up: Callable[[str], None],
    ) -> None:
        self.whole_table = whole_table
        self.acknowledged = acknowledged
        self.held = held
        self.whole_regions = whole_regions
        self.regions_settled = regions_settled
        self.called = called
        self.died = died
        self.gave_up = gave_up


class Frontends:
    """All frontends of the server."""

    def __init__(
        self,
        *,
        processes: Processes,
        memory: ServerMemory,
        settings: Settings,
        owner: FrontendOwner,
        checkpoint: Checkpoint,
        tracing: Callable[[], dict[str, TraceRow | None]],
        now_ns: Callable[[], int],
    ) -> None:
        self._processes = processes
        self._tracing = tracing
        self._checkpoint = checkpoint
        self._memory = memory
        self._settings = settings
        self._owner = owner
        self._now_ns = now_ns
        self._loop = asyncio.get_running_loop()
        self._places = [FrontendPlace(index=index) for index in range(settings.frontends)]
        for index, known in checkpoint.read_all(PLACE_PREFIX, PlaceRecord).items():
            self._places[int(index)].starts = known.starts
            self._settings = msgspec.structs.replace(self._settings, http_port=known.http_port)
        self._published = 0
        self._settings_number = 0
        self._is_stopping = False
        self._changed = asyncio.Event()

    @property
    def places(self) -> tuple[FrontendPlace, ...]:
        """All places, for those who look."""
        return tuple(self._places)

    async def start(self) -> Failure | None:
        """Start all frontends; return why one can not serve, `None` when all listen.

        The first one starts alone: when the system chooses the port, the others must share it.
        """
        for places in (self._places[:1], self._places[1:]):
            for place in places:
                self._start(place)
            while not all(place.is_ready for place in places):
                failed = next((place.failure for place in places if place.failure), None)
                if failed is not None:
                    return failed
                await self._change()
        return None

    def adopt(self, records: Iterable[ChildRecord], *, held: frozenset[Generation]) -> None:
        """Take over the frontends of an earlier supervisor.

        Parameters
        ----------
        held
            Generations that some of them may hold, until they say what they hold themselves.
        """
        for record in records:
            if isinstance(record.holder, int):
                place = self._places[record.holder]
                place.process = record.process
                place.is_ready = record.is_ready
                place.held = held
                place.regions_number = UNKNOWN
                place.child = self._processes.adopt(
                    record,
                    receives=FromFrontend,
                    on_message=partial(self._on_message, place),
                    on_end=partial(self._on_end, place),
                )

    def resume(self) -> None:
        """Start those that are missing; they serve already, so nobody waits for them."""
        for place in self._places:
            self._start(place)

    def came_back(self, process: ProcessIdentity) -> None:
        """Tell a frontend that came back everything: it may have missed something."""
        for place in self._places:
            if place.process == process:
                self._send(place, self._owner.whole_table())
                self._send(place, self._owner.whole_regions())
                self.trace_by(self._tracing())

    def publish(self, table: PublishTable) -> None:
        """Tell all frontends; they acknowledge the number."""
        self._published = table.number
        for place in self._places:
            self._send(place, table)
        self._loop.call_later(SILENT_SECONDS, self._end_silent, table.number)
        self._tell_acknowledged()

    def trace_by(self, rows: dict[str, TraceRow | None]) -> None:
        """Let all frontends trace by these settings."""
        for place in self._places:
            self._send(place, SetTracing(rows=rows))

    def publish_regions(self, regions: PublishRegions) -> None:
        """Tell all frontends; they acknowledge the number."""
        for place in self._places:
            self._send(place, regions)
        self._tell_regions_settled()

    async def change(self, settings: Settings) -> str:
        """Let all frontends go on by `settings`; return what of them could not be used.

        Raises
        ------
        TimeoutError
            One did not answer in time.
        """
        self._settings = msgspec.structs.replace(settings, http_port=self._settings.http_port)
        self._settings_number += 1
        number = self._settings_number
        change = ChangeSettings(number=number, settings_json=encode_settings(self._settings))
        for place in self._places:
            place.settings_fault = ""
            self._send(place, change)
        async with asyncio.timeout(SILENT_SECONDS):
            while any(
                one.child is not None and one.settings_number < number for one in self._places
            ):
                await self._change()
        return "; ".join(sorted({one.settings_fault for one in self._places} - {""}))

    async def stop(self, *, grace_seconds: float) -> None:
        """Let all finish what is in flight; end those that take longer than the grace and a bit."""
        self._is_stopping = True
        for place in self._places:
            self._send(place, StopFrontend(grace_ms=int(grace_seconds * 1000)))
        await self.all_ended()

    def abandon(self) -> None:
        """Start no frontend again: the server ends at once."""
        self._is_stopping = True

    async def all_ended(self) -> None:
        """Wait until no frontend is left."""
        while any(place.child is not None for place in self._places):
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _start(self, place: FrontendPlace) -> None:
        """Fill a place that is empty."""
        if self._is_stopping or place.child is not None:  # two may have asked for it
            return
        process = self._memory.begin_frontend(place.index)
        place.process = process
        place.acknowledged = -1
        place.starts += 1
        self._note(place)
        place.failure = None
        regions = self._owner.whole_regions()
        place.regions_number = regions.number
        place.settings_number = self._settings_number
        place.child = self._processes.spawn(
            FRONTEND,
            FrontendStart(
                frontend_index=place.index,
                places=self._memory.places(process),
                settings_json=encode_settings(self._settings),
                http_fd=self._memory.http_fd,
                regions=regions,
                tracing=self._tracing(),
                is_http_fd_lent=self._memory.is_http_fd_lent,
                grpc_fd=self._memory.grpc_fd,
                is_grpc_fd_lent=self._memory.is_grpc_fd_lent,
            ),
            record=ChildRecord(
                process=process, holder=place.index, title=f"mps frontend {place.index}"
            ),
            receives=FromFrontend,
            on_message=partial(self._on_message, place),
            on_end=partial(self._on_end, place),
        )
        self._send(place, self._owner.whole_table())

    def _send(self, place: FrontendPlace, message: Message) -> None:
        if place.child is not None:
            place.child.send(message)

    def _on_message(self, place: FrontendPlace, message: Message) -> None:
        match message:
            case TableAcknowledged():
                place.acknowledged = max(place.acknowledged, message.number)
                place.held = frozenset(message.held)
                self._tell_acknowledged()
            case RegionsAcknowledged():
                place.regions_number = max(place.regions_number, message.number)
                place.regions_in_use = frozenset(message.in_use)
                self._tell_regions_settled()
            case SettingsTaken():
                place.settings_number = max(place.settings_number, message.number)
                place.settings_fault = message.fault
                self._changed.set()
            case FrontendReady():
                self._on_ready(place, message)
            case FrontendFailed():
                place.failure = message.failure
                self._changed.set()
            case (
                LoadCall()
                | UnloadCall()
                | IndexCall()
                | EventsCall()
                | LoggingCall()
                | TraceCall()
                | RegisterRegionCall()
                | UnregisterRegionsCall()
            ):
                self._owner.called(message, partial(self._send, place))
            case _:
                log.error("message.unexpected", sender="frontend", kind=type(message).__name__)

    def _on_ready(self, place: FrontendPlace, message: FrontendReady) -> None:
        place.is_ready = True
        self._settings = msgspec.structs.replace(self._settings, http_port=message.http_port)
        self._note(place)
        self._changed.set()
        if place.child is not None and self._processes.note_ready(place.child):
            log.info("frontend.ready", frontend=place.index, http_port=message.http_port)

    def _note(self, place: FrontendPlace) -> None:
        record = PlaceRecord(starts=place.starts, http_port=self._settings.http_port)
        self._checkpoint.put(f"{PLACE_PREFIX}{place.index}", record)

    def _on_end(self, place: FrontendPlace, end: ChildEnd) -> None:
        assert place.process is not None
        process = place.process
        place.child = None
        place.held = frozenset()
        place.regions_in_use = frozenset()
        self._memory.end(process)  # first: who is woken by the next line sees it
        self._owner.died(process)
        sweep_process(self._memory.server_id, process.index, process.epoch)
        self._tell_acknowledged()
        self._tell_regions_settled()
        if not self._is_stopping:
            self._repair(place, end)
        self._changed.set()

    def _repair(self, place: FrontendPlace, end: ChildEnd) -> None:
        """Start it again, unless it never served and said that it can not, or dies too often."""
        if place.failure is not None and not place.is_ready:
            return
        log.error(
            "frontend.died",
            frontend=place.index,
            exit_code=end.exit_code,
            signal=end.signal_number,
        )
        place.deaths = record_death(place.deaths, now_ns=self._now_ns(), policy=POLICY)
        again_ns = restart_at_ns(place.deaths, policy=POLICY)
        if again_ns is None:
            self._give_up(place, end)
            return
        delay_seconds = max(again_ns - self._now_ns(), 0) / 1e9
        self._loop.call_later(delay_seconds, self._start, place)

    def _give_up(self, place: FrontendPlace, end: ChildEnd) -> None:
        reason = f"frontend {place.index} died too often: {' | '.join(end.last_lines)}"
        place.failure = Failure(code=ErrorCode.INTERNAL, message=reason)
        self._owner.gave_up(reason)

    def _tell_acknowledged(self) -> None:
        """The lowest number of all that live; with none, nobody routes by an older table."""
        self._owner.held(frozenset[Generation]().union(*(place.held for place in self._places)))
        living = [place.acknowledged for place in self._places if place.child is not None]
        self._owner.acknowledged(min(living, default=self._published))

    def _tell_regions_settled(self) -> None:
        """As `_tell_acknowledged`; a frontend that starts knows what is registered by then."""
        living = [place.regions_number for place in self._places if place.child is not None]
        number = min(living, default=self._owner.whole_regions().number)
        in_use = frozenset[RegionId]().union(*(place.regions_in_use for place in self._places))
        self._owner.regions_settled(number, in_use)

    def _end_silent(self, number: int) -> None:
        for place in self._places:
            child = place.child
            if child is not None and place.acknowledged < number and child.has_unread():
                log.error("frontend.hung", frontend=place.index, table=number)
                child.kill()
