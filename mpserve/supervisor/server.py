"""The whole server from the supervisor's side: start, serve until told to stop, stop.

Order of the start: load, open ports, follow the repository. Order of the end: the reverse.
"""

import asyncio
import contextlib
import time
from typing import Final

import msgspec

from mpserve.control.door import Call as DoorCall
from mpserve.control.messages import LoggingCall, PublishTable
from mpserve.control.region_messages import (
    PublishRegions,
    RegisterRegionCall,
    UnregisterRegionsCall,
)
from mpserve.control.spawner_messages import ChildExited, ChildStopped
from mpserve.control.trace_messages import TraceCall
from mpserve.errors import ConfigError
from mpserve.lifecycle.actions import CheckFolder
from mpserve.lifecycle.actions import PublishTable as PublishAction
from mpserve.lifecycle.events import FolderChecked
from mpserve.lifecycle.index import is_ready
from mpserve.model.identity import ModelName
from mpserve.repository import ScanResult
from mpserve.settings import ModelControlMode, Settings
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.frontends import Answer, Call, FrontendOwner, Frontends
from mpserve.supervisor.last_words import say
from mpserve.supervisor.metrics_port import metrics_port
from mpserve.supervisor.polling import Polling, taken_over
from mpserve.supervisor.processes import CHILD_PREFIX, ChildRecord, Processes
from mpserve.supervisor.publication import Publication
from mpserve.supervisor.region_api import RegionApi
from mpserve.supervisor.repository_api import RepositoryApi
from mpserve.supervisor.repository_view import RepositoryView, scan_options
from mpserve.supervisor.root_link import RootLink, refuse
from mpserve.supervisor.scrape import Scrape
from mpserve.supervisor.setting_api import SettingApi
from mpserve.supervisor.settings_reload import Reread, SettingsReload
from mpserve.supervisor.shared_places import ProcessIdentity, ServerMemory
from mpserve.supervisor.spawner_link import SpawnerLink
from mpserve.supervisor.startup import Loaded, load_at_start
from mpserve.supervisor.stop import Stop
from mpserve.supervisor.supervisor import Supervisor, is_empty
from mpserve.supervisor.trace_api import Rows, TraceApi, begin_trace_file
from mpserve.telemetry import log

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
KILLED_SECONDS: Final = 5.0
"""How long processes may take to be gone after SIGKILL; the kernel frees their memory meanwhile."""
CALM_SECONDS: Final = 0.25
"""After the start; before, there is something better to do."""

PHASE: Final = "phase"


class Phase(msgspec.Struct, kw_only=True):
    """How far the server is, and what the health routes of all frontends answer at the moment.

    Attributes
    ----------
    is_started
        The models of the start are loaded, and the ports are open.
    metrics_port
        What the system chose when it was to choose; 0 before.
    """

    is_live: bool = True
    is_serving: bool = True
    is_started: bool = False
    metrics_port: int = 0


class Server:
    """Everything the supervisor process owns while its event loop runs."""

    def __init__(
        self,
        *,
        settings: Settings,
        root: RootLink,
        link: SpawnerLink,
        memory: ServerMemory,
        checkpoint: Checkpoint,
        tasks: asyncio.TaskGroup,
        reread: Reread,
    ) -> None:
        self._settings = settings
        self._root = root
        self._link = link
        self._checkpoint = checkpoint
        self._metrics_fd = memory.metrics_fd
        self._phase = checkpoint.read(PHASE, Phase) or Phase()
        self._processes = Processes(link, checkpoint)
        self._supervisor = Supervisor(
            settings=settings,
            processes=self._processes,
            memory=memory,
            checkpoint=checkpoint,
            now_ns=time.monotonic_ns,
        )
        self._publication = Publication(self._supervisor.workers, self._supervisor.definitions)
        self._view = RepositoryView(settings, checkpoint)
        self._api = RepositoryApi(
            supervisor=self._supervisor, view=self._view, settings=settings, tasks=tasks
        )
        self._traces = TraceApi(
            settings=settings,
            board=memory.traces,
            checkpoint=checkpoint,
            publish=self._publish_traces,
        )
        self._setting_api = SettingApi(
            processes=self._processes,
            root=root,
            settings=settings,
            checkpoint=checkpoint,
            traces=self._traces,
        )
        self._region_api = RegionApi(
            server_id=memory.server_id, publish=self._publish_regions, checkpoint=checkpoint
        )
        self._frontends = Frontends(
            processes=self._processes,
            memory=memory,
            settings=settings,
            owner=FrontendOwner(
                whole_table=self._whole_table,
                acknowledged=self._supervisor.acknowledged,
                held=self._supervisor.held,
                whole_regions=self._region_api.published,
                regions_settled=self._region_api.settled,
                called=self._called,
                died=self._supervisor.workers.reap_frontend,
                gave_up=self._give_up,
            ),
            checkpoint=checkpoint,
            tracing=self._traces.rows,
            now_ns=time.monotonic_ns,
        )
        self._scrape = Scrape(
            settings=settings,
            actual=lambda: self._supervisor.actual,
            ledger=self._supervisor.ledger,
            workers=self._supervisor.workers,
            frontends=self._frontends,
            rings=memory.rings,
            traffic=memory.traffic,
            now_ns=time.monotonic_ns,
        )
        self._reload = SettingsReload(
            present=settings,
            reread=reread,
            take=self._take_settings,
            reopen_log=link.reopen_log,
            root=root,
            identity=memory.identity,
            checkpoint=checkpoint,
        )
        self._polling: asyncio.Task[None] | None = None
        self._supervisor.publish_by(self._publish)
        self._supervisor.callers.answer_by(whole_table=self._whole_table, called=self._called)
        self._supervisor.check_folders_by(self._check_folder)
        self._tasks = tasks
        self._stop = Stop()
        self._failure = ""

    def _called(self, call: Call, answer: Answer) -> None:
        match call:
            case LoggingCall() | TraceCall():
                self._setting_api.call(call, answer)
            case RegisterRegionCall() | UnregisterRegionsCall():
                self._region_api.call(call, answer)
            case _:
                self._api.call(call, answer)

    async def run(self) -> int:
        """Serve; return the exit code."""
        self._root.attach(
            on_stop=self._stop.on_signal,
            on_reload=self._reload.ask,
            on_child=self._on_child_of_root,
        )
        code = await self._stop.unless_at_once(self._serve())
        code = EXIT_FAILED if code is None else code
        self._supervisor.abandon()
        self._frontends.abandon()
        self._processes.kill_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_SECONDS):
                await self._frontends.all_ended()
                await self._supervisor.workers.all_ended()
        self._view.close()
        await self._link.stop()
        self._supervisor.ledger.close()  # last: what ended may still be planned on until here
        log.info("server.ended", exit_code=code)
        return code

    async def _serve(self) -> int:
        async with contextlib.AsyncExitStack() as ports:
            self._take_over()
            going_on = self._go_on if self._phase.is_started else self._start
            if not await going_on(ports):
                return EXIT_OK if self._stop.asked.is_set() and not self._failure else EXIT_FAILED
            reloads = self._tasks.create_task(self._reload.run(), name="settings")
            await self._stop.asked.wait()
            reloads.cancel()
            return await self._shut_down()

    def _take_over(self) -> None:
        """Take what an earlier supervisor has left, and those who come back."""
        records = tuple(self._checkpoint.read_all(CHILD_PREFIX, ChildRecord).values())
        self._supervisor.take_over(records)
        self._frontends.adopt(records, held=self._supervisor.actual.held)
        self._root.open_door(self._came_back)
        if records:
            log.warning("supervisor.took_over", children=len(records))

    def _came_back(self, call: DoorCall) -> None:
        if self._link.came_back(call):
            return
        if self._processes.came_back(call):
            caller = call.caller
            self._frontends.came_back(
                ProcessIdentity(index=caller.process_index, epoch=caller.epoch)
            )
            return
        refuse(call)

    async def _go_on(self, ports: contextlib.AsyncExitStack) -> bool:
        """Be what an earlier supervisor was when everything had started."""
        if not await self._open_metrics(ports):
            return False
        self._root.beat()
        if self._stop.asked.is_set():
            return True
        self._frontends.resume()
        if self._settings.model_control_mode is not ModelControlMode.EXPLICIT:
            self._tasks.create_task(self._view.scan(), name="first scan")  # what the index tells
        if self._phase.is_serving:
            options = scan_options(self._settings)
            self._follow_repository(taken_over(self._supervisor.wanted, options))
        return True

    async def _start(self, ports: contextlib.AsyncExitStack) -> bool:
        """Load and open the ports; false when the server should not go on, or was told to stop."""
        try:
            begin_trace_file(self._settings.trace)
        except ConfigError as error:
            self._refuse(f"error: creating server: Invalid argument - {error.message}")
            return False
        loaded = await self._stop.unless_asked(
            load_at_start(
                supervisor=self._supervisor,
                view=self._view,
                api=self._api,
                settings=self._settings,
            )
        )
        if loaded is None or not self._may_go_on(loaded):
            return False
        if not await self._open_metrics(ports):  # first: who is ready can also be scraped
            return False
        failure = await self._stop.unless_asked(self._frontends.start())
        if failure is not None:
            self._refuse(failure.message)
            return False
        if self._stop.asked.is_set():
            return False
        models = len(self._supervisor.actual.models)
        log.info("server.ready", models=models)
        self._root.notify("READY=1", f"STATUS=serving, {models} models at the start")
        self._phase.is_started = True
        self._note_phase()
        self._root.beat()
        self._follow_repository(loaded.first)
        asyncio.get_running_loop().call_later(CALM_SECONDS, self._prepare)
        return True

    def _prepare(self) -> None:
        if not self._stop.asked.is_set():
            self._tasks.create_task(self._view.prepare(), name="prepare loads")

    async def _open_metrics(self, ports: contextlib.AsyncExitStack) -> bool:
        """Serve the metrics until `ports` are closed; false when their port can not be had."""
        if not self._settings.allow_metrics:
            return True
        settings = self._settings
        if self._phase.metrics_port:
            settings = msgspec.structs.replace(settings, metrics_port=self._phase.metrics_port)
        try:
            port = await ports.enter_async_context(
                metrics_port(
                    settings, self._scrape.page, tasks=self._tasks, lent_fd=self._metrics_fd
                )
            )
        except ConfigError as error:
            self._refuse(f"failed to start Metrics service: Unavailable - {error.message}")
            return False
        log.info("metrics.ready", port=port)
        self._phase.metrics_port = port
        self._note_phase()
        return True

    def _may_go_on(self, loaded: Loaded) -> bool:
        self._phase.is_live = loaded.is_live
        if loaded.failure and self._settings.exit_on_error:
            self._refuse(f"error: creating server: {loaded.failure}")
            return False
        return True

    def _note_phase(self) -> None:
        self._checkpoint.put(PHASE, self._phase)

    def _follow_repository(self, first: ScanResult | None) -> None:
        interval_s = self._settings.repository_poll_secs
        is_polled = self._settings.model_control_mode is ModelControlMode.POLL
        if is_polled and interval_s > 0 and first is not None:
            polling = Polling(
                supervisor=self._supervisor,
                view=self._view,
                first=first,
                interval_s=interval_s,
                now_ns=time.monotonic_ns,
            )
            self._polling = self._tasks.create_task(polling.run(self._stop.asked), name="polling")

    async def _take_settings(self, settings: Settings) -> str:
        """Let every part go on by `settings`; return what of them could not be used."""
        before, self._settings = self._settings, settings
        self._supervisor.change(settings)
        self._setting_api.change(settings)
        self._frontends.publish(self._table(frozenset()))  # readiness may be strict or not, now
        if before.repository_poll_secs != settings.repository_poll_secs:
            if self._polling is not None:
                self._polling.cancel()
            self._follow_repository(taken_over(self._supervisor.wanted, scan_options(settings)))
        return await self._frontends.change(settings)

    async def _shut_down(self) -> int:
        """Let everything in flight finish within the exit timeout."""
        log.info("server.stopping", exit_timeout_secs=self._settings.exit_timeout_secs)
        self._root.notify("STOPPING=1", "STATUS=answering what is in flight")
        self._phase.is_serving = False
        self._note_phase()
        self._api.end()
        self._supervisor.refuse_open_wishes()  # the frontends wait for calls as for requests
        self._frontends.publish(self._table(frozenset()))
        try:
            async with asyncio.timeout(self._settings.exit_timeout_secs):
                await self._frontends.stop(grace_seconds=self._settings.exit_timeout_secs)
                self._supervisor.end()
                await self._supervisor.until(is_empty)
        except TimeoutError:
            self._refuse(
                "failed to stop server: Internal - Exit timeout expired. Exiting immediately."
            )
            return EXIT_FAILED
        return EXIT_FAILED if self._failure else EXIT_OK

    # --- what the parts ask of each other ---------------------------------------------------------

    def _publish(self, action: PublishAction) -> None:
        table = self._table(action.names)
        self._supervisor.callers.publish(table)  # first: they are not waited for
        self._frontends.publish(table)

    def _check_folder(self, action: CheckFolder) -> None:
        self._tasks.create_task(self._look_again(action), name=f"check:{action.name}")

    async def _look_again(self, action: CheckFolder) -> None:
        is_unchanged = await self._view.is_unchanged(action.definition)
        self._supervisor.tell(
            FolderChecked(name=action.name, wish=action.wish, is_unchanged=is_unchanged)
        )

    def _publish_regions(self, regions: PublishRegions) -> None:
        self._frontends.publish_regions(regions)

    def _publish_traces(self, rows: Rows) -> None:
        self._frontends.trace_by(rows)

    def _whole_table(self) -> PublishTable:
        return self._table(frozenset(self._supervisor.actual.models))

    def _table(self, names: frozenset[ModelName]) -> PublishTable:
        actual = self._supervisor.actual
        is_up = self._phase.is_live and self._phase.is_serving
        return self._publication.table(
            actual,
            names,
            number=actual.table_number,
            is_ready=is_up and is_ready(actual, strict=self._settings.strict_readiness),
            is_live=self._phase.is_live,
        )

    def _give_up(self, reason: str) -> None:
        self._refuse(reason)
        self._stop.asked.set()

    def _refuse(self, reason: str) -> None:
        """Say on stderr, in the peer's words, why the exit code is not 0."""
        self._failure = reason
        say(reason)

    def _on_child_of_root(self, message: ChildExited | ChildStopped) -> None:
        match message:
            case ChildExited():
                self._processes.on_exited(message)
            case ChildStopped():
                self._processes.on_stopped(message)
                self._link.on_stopped(message)
