"""Process of a frontend: take the routing table, listen, serve, and end in order.

Guarantees
    It listens only after the first table has come. A table's number is acknowledged when no
    request is on its way to a queue that the table no longer names. Told to stop, or left by its
    server, it closes its listener, answers what is in flight until the deadline, and ends. When the
    supervisor is replaced, it goes on, and tells the next one what it told the last.

Exit codes: 0 after an orderly end, `EXIT_NOT_SERVING` when it could not listen.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, assert_never

import uvloop

from mpserve.control.channel import Channel
from mpserve.control.door import Caller, own_stderr, ring
from mpserve.control.message import Message
from mpserve.control.messages import (
    CallDone,
    EventsReply,
    FrontendFailed,
    FrontendReady,
    FrontendStart,
    IndexReply,
    LoggingReply,
    PublishTable,
    SetLog,
    StopFrontend,
    TableAcknowledged,
    ToFrontend,
)
from mpserve.control.region_messages import (
    PublishRegions,
)
from mpserve.control.setting_messages import ChangeSettings, SettingsTaken
from mpserve.control.trace_messages import SetTracing, TraceReply
from mpserve.dialect import DIALECTS
from mpserve.dispatch.regions import Regions
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutingTable
from mpserve.dispatch.tracer import Tracer
from mpserve.errors import ConfigError, Failure
from mpserve.frontend.event_source import events_from
from mpserve.frontend.handlers.handlers import Handlers
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.frontend.handlers.metadata import MetadataHandler
from mpserve.frontend.handlers.repository import RepositoryCalls
from mpserve.frontend.handlers.statistics import StatisticsHandler
from mpserve.frontend.handover import DRAIN_HANDSHAKE_SECONDS, HANDSHAKE_SECONDS
from mpserve.frontend.http.service import HttpService
from mpserve.frontend.late_import import LateImport
from mpserve.frontend.listener import Listener, listen, listen_inherited, port_of, shut
from mpserve.settings import Settings, decode_settings
from mpserve.shm.dispatcher import DispatcherPlaces, open_dispatcher
from mpserve.shm.segment import share_with
from mpserve.shm.traffic_board import TrafficBoard, counts_traffic
from mpserve.telemetry import log

if TYPE_CHECKING:
    from mpserve.frontend.grpc.transport import GrpcServer

EXIT_OK: Final = 0
EXIT_NOT_SERVING: Final = 69  # EX_UNAVAILABLE
FIRST_EPOCH: Final = 1  # of a process that was never replaced
FIRST_TABLE_SECONDS: Final = 30.0  # it is the first thing that is sent
SETTLE_SECONDS: Final = 0.002  # until requests for a full queue are looked at again
UPKEEP_SECONDS: Final = 1.0
DRAIN_LOOK_SECONDS: Final = 0.01
IDLE_SECONDS: Final = 0.25  # who rests between two requests may have sent the next one
UNTOUCHED_SECONDS: Final = 1.0  # who has just connected may still send his request
DOOR_SECONDS: Final = 0.05  # until the door is tried again


def main(start: FrontendStart, control: socket.socket) -> int:
    """Be the frontend that `start` describes; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the supervisor, who tells us
        signal.signal(number, signal.SIG_IGN)
    settings = decode_settings(start.settings_json)
    if settings.worker_user is not None:
        share_with(settings.worker_user.gid)
    log.configure(settings.log, role=f"frontend:{start.frontend_index}")
    if settings.logging.is_set:
        # Here, because few want it and `logging` costs milliseconds.
        from mpserve.telemetry.logging_sink import divert_to_logging  # noqa: PLC0415

        divert_to_logging(settings.logging)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(start, settings, control))


async def _serve(start: FrontendStart, settings: Settings, control: socket.socket) -> int:
    return await Frontend(start, settings, control).run()


class Frontend:
    """One frontend, from its first table to its end. Made inside its event loop."""

    def __init__(self, start: FrontendStart, settings: Settings, control: socket.socket) -> None:
        self._start = start
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._dialect = DIALECTS[settings.dialect]
        self._regions = Regions(
            server_id=start.places.server_id,
            allowed=settings.allow_client_shm,
            max_bytes=settings.arena_max_bytes,
            acknowledge=self._send,
        )
        self._dispatcher = open_dispatcher(
            _places(start),
            call_soon=self._loop.call_soon,
            call_later=self._loop.call_later,
            regions=self._regions.table,
        )
        if counts_traffic(settings):
            board = TrafficBoard.attach(start.places.server_id)
            self._dispatcher.count_traffic(board.traffic(start.frontend_index))
        self._tracer = Tracer(
            self._dispatcher, server_id=start.places.server_id, export=settings.span_export
        )
        self._tracer.trace_by(start.tracing)
        self._table = RoutingTable(self._dialect.phrases)
        self._routes = Routes(
            self._dispatcher,
            reads_sequences=self._dialect.reads_sequences,
            on_released=self._tell_released,
        )
        self._labels = LabelFiles()
        self._numpy = LateImport(self._loop.call_later)
        self._health = Health()
        self._caller = Caller(
            process_index=start.places.process_index, epoch=start.places.epoch, pid=os.getpid()
        )
        self._stderr_fd = own_stderr()
        self._channel = self._opened(control)
        self._calls = RepositoryCalls(
            send=self._send, call_later=self._call_later, settings=settings
        )
        self._regions.apply(start.regions)
        self._handlers = Handlers(
            health=self._health,
            metadata=MetadataHandler(table=self._table, settings=settings),
            statistics=StatisticsHandler(table=self._table, routes=self._routes),
            repository=self._calls,
            regions=self._regions,
            infer=InferHandler(
                table=self._table,
                routes=self._routes,
                dispatcher=self._dispatcher,
                regions=self._regions,
                dialect=self._dialect,
                tracer=self._tracer,
            ),
            labels=self._labels,
        )
        self._events = events_from(settings.server_name, dialect=self._dialect)
        self._http = HttpService(
            settings=settings,
            dispatcher=self._dispatcher,
            handlers=self._handlers,
            events=self._events,
        )
        self._changes: asyncio.Queue[ChangeSettings] = asyncio.Queue()
        self._applied = 0
        self._http_port: int | None = None  # once it listens
        self._has_table = asyncio.Event()
        self._stop_seconds: asyncio.Future[float] = self._loop.create_future()

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        sockets_fd = self._dispatcher.open_sockets()
        self._loop.add_reader(sockets_fd, self._dispatcher.turn)
        try:
            return await self._listen_and_serve()
        finally:
            self._loop.remove_reader(sockets_fd)
            self._calls.end()
            self._channel.close()
            self._tracer.close()

    async def _listen_and_serve(self) -> int:
        async with asyncio.timeout(FIRST_TABLE_SECONDS):
            await self._has_table.wait()
        service = "GRPC"
        try:
            grpc = await self._open_grpc() if self._settings.allow_grpc else None
            service = "HTTP"
            listener = self._listen() if self._settings.allow_http else None
            if listener is not None:
                shares_port = self._settings.reuse_http_port and self._start.http_fd < 0
                await self._http.serve(
                    Listener(listener, shares_port=shares_port), settings=self._settings.http
                )
        except ConfigError as error:
            message = f"failed to start {service} service: Unavailable - {error.message}"
            failure = Failure(code=error.code, message=message)
            self._send(FrontendFailed(failure=failure))
            return EXIT_NOT_SERVING
        port = self._settings.http_port
        async with contextlib.AsyncExitStack() as listeners:
            if listener is not None:
                listeners.callback(self._http.close)
                if listener.family is socket.AF_UNIX and not self._start.is_http_fd_lent:
                    # Other processes hold it too: nobody may connect who is not answered any more.
                    listeners.callback(shut, self._start.http_fd)
                if listener.family is not socket.AF_UNIX:
                    port = port_of(listener)
            self._http_port = port
            self._send(FrontendReady(http_port=port))
            async with asyncio.TaskGroup() as tasks:
                taking = tasks.create_task(self._take_settings(grpc), name="settings")
                grace_seconds = await self._upkeep_until_stop(grpc)
                taking.cancel()
            grace_seconds -= await self._hand_over(grpc)
        async with asyncio.TaskGroup() as drains:
            drains.create_task(self._drain(grace_seconds), name="drain")
            if grpc is not None:
                drains.create_task(grpc.stop(grace_seconds), name="drain gRPC")
        return EXIT_OK

    async def _open_grpc(self) -> "GrpcServer":
        # Here, because it imports protobuf, which HTTP does not need.
        from mpserve.frontend.grpc.services import make_services  # noqa: PLC0415
        from mpserve.frontend.grpc.transport import Place, open_server  # noqa: PLC0415

        services = make_services(
            self._handlers,
            dialect=self._dialect,
            dispatcher=self._dispatcher,
            settings=self._settings.grpc,
            events=self._events,
        )
        place = Place(
            settings=self._settings.grpc,
            clients=self._settings.clients,
            dialect=self._dialect,
            dispatcher=self._dispatcher,
            health=self._health,
            exclusive=self._is_first() and not self._settings.grpc.reuse_port,
            inherited_fd=self._start.grpc_fd,
            is_lent=self._start.is_grpc_fd_lent,
            is_alone=len(self._start.places.ring_segments) == 1,
        )
        return await open_server(services, place)

    def _listen(self) -> socket.socket:
        if self._start.http_fd >= 0:
            return listen_inherited(self._start.http_fd)
        return listen(
            address=self._settings.http_address,
            port=self._settings.http_port,
            exclusive=self._is_first() and not self._settings.reuse_http_port,
        )

    def _is_first(self) -> bool:
        """Tell whether no frontend of this server can listen yet."""
        return self._start.frontend_index == 0 and self._start.places.epoch == FIRST_EPOCH

    async def _upkeep_until_stop(self, grpc: "GrpcServer | None") -> float:
        """Give back what is not used, and look at clients; return the grace of the stop."""
        while True:
            done, _ = await asyncio.wait({self._stop_seconds}, timeout=UPKEEP_SECONDS)
            if done:
                return self._stop_seconds.result()
            self._routes.close_retired()
            self._dispatcher.trim()
            self._http.look_at_pace()
            if grpc is not None:
                grpc.look_at_pace()

    async def _take_settings(self, grpc: "GrpcServer | None") -> NoReturn:
        """Go on by each of the settings that the supervisor sends."""
        while True:
            change = await self._changes.get()
            faults = []
            self._settings = decode_settings(change.settings_json)
            self._calls.change(self._settings)
            try:
                await self._http.change(self._settings)
            except ConfigError as error:
                faults.append(error.message)
            if grpc is not None:
                try:
                    await grpc.change(self._settings.grpc, self._settings.clients)
                except ConfigError as error:
                    faults.append(error.message)
            self._send(SettingsTaken(number=change.number, fault="; ".join(faults)))

    async def _hand_over(self, grpc: "GrpcServer | None") -> float:
        """Be ready no more, and leave new connections to others on the port; return the time."""
        self._health.stop()
        needs_time = [self._http.hand_over(), grpc is not None and grpc.hand_over()]
        if not any(needs_time):
            return 0.0
        await asyncio.sleep(HANDSHAKE_SECONDS)
        return HANDSHAKE_SECONDS

    async def _drain(self, grace_seconds: float) -> None:
        """Answer what is in flight; what is not answered in time is cut off."""
        self._http.drain()
        self._loop.call_later(IDLE_SECONDS, self._http.close_idle)
        self._loop.call_later(UNTOUCHED_SECONDS, self._http.close_untouched)
        deadline = self._loop.time() + grace_seconds
        handshakes_until = min(self._loop.time() + DRAIN_HANDSHAKE_SECONDS, deadline)

        def waits() -> bool:
            now = self._loop.time()
            shakes_hands = self._http.handshakes > 0 and now < handshakes_until
            return shakes_hands or (self._is_busy() and now < deadline)

        # The counts are the native core's, which tells no event when they change.
        while waits():  # noqa: ASYNC110  see above
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        if self._is_busy():
            log.warning(
                "frontend.cut_off",
                in_flight=self._dispatcher.in_flight,
                connections=self._http.connections,
            )

    def _is_busy(self) -> bool:
        return bool(
            self._dispatcher.in_flight or self._http.connections or self._calls.waiting_count()
        )

    # --- the supervisor -------------------------------------------------------------------------

    def _on_message(self, message: ToFrontend) -> None:
        match message:
            case PublishTable():
                self._apply(message)
            case PublishRegions():
                self._regions.apply(message)
            case StopFrontend():
                self._stop(message.grace_ms / 1000)
            case SetLog():
                log.switch(message.switches)
            case ChangeSettings():
                self._changes.put_nowait(message)
            case SetTracing():
                self._tracer.trace_by(message.rows)
            case CallDone() | IndexReply() | EventsReply() | LoggingReply() | TraceReply():
                self._calls.on_reply(message)
            case _:
                assert_never(message)

    def _call_later(
        self, seconds: float, callback: Callable[[int], None], call_id: int
    ) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, callback, call_id)

    def _opened(self, control: socket.socket) -> Channel[ToFrontend]:
        return Channel.open(
            control, ToFrontend, on_message=self._on_message, on_end=self._on_supervisor_gone
        )

    def _send(self, message: Message) -> None:
        self._channel.send(message)

    def _on_supervisor_gone(self, _error: Exception | None) -> None:
        """Turn to the next supervisor; when there will be none, end."""
        try:
            control = ring(
                self._start.places.door_fd, self._caller, stderr_fd=self._stderr_fd, wait=False
            )
        except BlockingIOError:  # many ring at the same time
            self._loop.call_later(DOOR_SECONDS, self._on_supervisor_gone, None)
            return
        if control is None:
            log.warning("supervisor.gone")
            self._calls.end()
            self._stop(float(self._settings.exit_timeout_secs))
            return
        self._channel = self._opened(control)
        if self._http_port is not None:
            self._send(FrontendReady(http_port=self._http_port))
        if self._has_table.is_set():
            self._acknowledge(self._applied)
        self._regions.tell()
        self._calls.repeat()

    def _stop(self, grace_seconds: float) -> None:
        if not self._stop_seconds.done():
            self._stop_seconds.set_result(grace_seconds)

    def _apply(self, table: PublishTable) -> None:
        if table.changed:
            self._numpy.want()
        self._table.apply(removed=table.removed, changed=table.changed)
        self._routes.apply(removed=table.removed, changed=table.changed)
        self._labels.keep(self._table.generations)
        self._health.apply(table)
        self._applied = table.number
        self._has_table.set()
        self._dispatcher.flush()
        self._acknowledge(table.number)

    def _acknowledge(self, number: int) -> None:
        """Acknowledge now, or when the last request for a queue that went is pushed."""
        if number < self._applied:
            return  # a later table is acknowledged instead, which says more
        if self._routes.is_settled():
            self._send(TableAcknowledged(number=number, held=self._routes.held()))
        else:
            self._loop.call_later(SETTLE_SECONDS, self._acknowledge, number)

    def _tell_released(self) -> None:
        self._acknowledge(self._applied)


def _places(start: FrontendStart) -> DispatcherPlaces:
    shared = start.places
    return DispatcherPlaces(
        server_id=shared.server_id,
        process_index=shared.process_index,
        epoch=shared.epoch,
        frontend_index=start.frontend_index,
        board_segment=shared.board_segment,
        ring_segment=shared.ring_segments[start.frontend_index],
        wake_fd=shared.wake_fds[start.frontend_index],
        arena_initial_bytes=shared.arena_initial_bytes,
        arena_max_bytes=shared.arena_max_bytes,
    )
