"""The whole server from the supervisor's side: start, serve until told to stop, stop.

Order of the start: load, open ports, follow the repository. Order of the end: the reverse.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

import msgspec

from mpserve.control.messages import LoggingCall, PublishTable, TraceCall
from mpserve.errors import ConfigError
from mpserve.lifecycle.actions import CheckFolder
from mpserve.lifecycle.actions import PublishTable as PublishAction
from mpserve.lifecycle.events import FolderChecked
from mpserve.lifecycle.index import is_ready
from mpserve.model.identity import ModelName
from mpserve.settings import ModelControlMode, Settings
from mpserve.supervisor.frontends import Answer, Call, FrontendOwner, Frontends
from mpserve.supervisor.metrics_port import metrics_port
from mpserve.supervisor.polling import Polling
from mpserve.supervisor.processes import Processes
from mpserve.supervisor.publication import Publication
from mpserve.supervisor.repository_api import RepositoryApi
from mpserve.supervisor.repository_view import RepositoryView
from mpserve.supervisor.scrape import Scrape
from mpserve.supervisor.setting_api import SettingApi
from mpserve.supervisor.shared_places import ServerMemory
from mpserve.supervisor.spawner_link import SpawnerLink
from mpserve.supervisor.startup import Loaded, load_at_start
from mpserve.supervisor.supervisor import Supervisor, is_empty
from mpserve.telemetry import log

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
KILLED_SECONDS: Final = 5.0
"""How long processes may take to be gone after SIGKILL; the kernel frees their memory meanwhile."""

Result = TypeVar("Result")

STDOUT_FD: Final = 1  # not `sys.stdout`: a pipe that broke would also spoil the exit code
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Phase(msgspec.Struct, kw_only=True):
    """What the health routes of all frontends answer at the moment."""

    is_live: bool = True
    is_serving: bool = True


class Server:
    """Everything the supervisor process owns while its event loop runs."""

    def __init__(
        self,
        *,
        settings: Settings,
        link: SpawnerLink,
        memory: ServerMemory,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._link = link
        self._phase = Phase()
        self._processes = Processes(link)
        self._supervisor = Supervisor(
            settings=settings, processes=self._processes, memory=memory, now_ns=time.monotonic_ns
        )
        self._publication = Publication(self._supervisor.workers)
        self._view = RepositoryView(settings)
        self._api = RepositoryApi(
            supervisor=self._supervisor, view=self._view, settings=settings, tasks=tasks
        )
        self._setting_api = SettingApi(processes=self._processes, settings=settings)
        self._frontends = Frontends(
            processes=self._processes,
            memory=memory,
            settings=settings,
            owner=FrontendOwner(
                whole_table=self._whole_table,
                acknowledged=self._supervisor.acknowledged,
                held=self._supervisor.held,
                called=self._called,
                died=self._supervisor.workers.reap_frontend,
                gave_up=self._give_up,
            ),
            now_ns=time.monotonic_ns,
        )
        self._scrape = Scrape(
            settings=settings,
            actual=lambda: self._supervisor.actual,
            ledger=self._supervisor.ledger,
            workers=self._supervisor.workers,
            frontends=self._frontends,
            rings=memory.rings,
            now_ns=time.monotonic_ns,
        )
        self._supervisor.publish_by(self._publish)
        self._supervisor.callers.answer_by(whole_table=self._whole_table, called=self._called)
        self._supervisor.check_folders_by(self._check_folder)
        self._tasks = tasks
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._failure = ""

    def _called(self, call: Call, answer: Answer) -> None:
        match call:
            case LoggingCall() | TraceCall():
                self._setting_api.call(call, answer)
            case _:
                self._api.call(call, answer)

    async def run(self) -> int:
        """Serve; return the exit code."""
        with self._stop_signals():
            code = await self._until_at_once(self._serve())
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

    async def _until_at_once(self, serving: Coroutine[Any, Any, int]) -> int:
        """Return what `serving` returns; cancel it when a second signal asks to end at once."""
        task = asyncio.ensure_future(serving)
        if await self._first_of(task, self._at_once):
            return task.result()
        return EXIT_FAILED

    async def _unless_stopped(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Return what `work` returns; cancel it, and return `None`, when the server has to stop."""
        task = asyncio.ensure_future(work)
        return task.result() if await self._first_of(task, self._stop) else None

    async def _first_of(self, task: "asyncio.Future[Result]", event: asyncio.Event) -> bool:
        """Wait for either; true when the task has ended. The other one is cancelled."""
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        return not task.cancelled()

    async def _serve(self) -> int:
        async with contextlib.AsyncExitStack() as ports:
            if not await self._start(ports):
                return EXIT_OK if self._stop.is_set() and not self._failure else EXIT_FAILED
            await self._stop.wait()
            return await self._shut_down()

    async def _start(self, ports: contextlib.AsyncExitStack) -> bool:
        """Load and open the ports; false when the server should not go on, or was told to stop."""
        loaded = await self._unless_stopped(
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
        failure = await self._unless_stopped(self._frontends.start())
        if failure is not None:
            self._refuse(failure.message)
            return False
        if self._stop.is_set():
            return False
        log.info("server.ready", models=len(self._supervisor.actual.models))
        self._follow_repository(loaded)
        return True

    async def _open_metrics(self, ports: contextlib.AsyncExitStack) -> bool:
        """Serve the metrics until `ports` are closed; false when their port can not be had."""
        if not self._settings.allow_metrics:
            return True
        try:
            port = await ports.enter_async_context(metrics_port(self._settings, self._scrape.page))
        except ConfigError as error:
            self._refuse(f"failed to start Metrics service: Unavailable - {error.message}")
            return False
        log.info("metrics.ready", port=port)
        return True

    def _may_go_on(self, loaded: Loaded) -> bool:
        self._phase.is_live = loaded.is_live
        if loaded.failure and self._settings.exit_on_error:
            self._refuse(f"error: creating server: {loaded.failure}")
            return False
        return True

    def _follow_repository(self, loaded: Loaded) -> None:
        interval_s = self._settings.repository_poll_secs
        is_polled = self._settings.model_control_mode is ModelControlMode.POLL
        if is_polled and interval_s > 0 and loaded.first is not None:
            polling = Polling(
                supervisor=self._supervisor,
                view=self._view,
                first=loaded.first,
                interval_s=interval_s,
                now_ns=time.monotonic_ns,
            )
            self._tasks.create_task(polling.run(self._stop), name="polling")

    async def _shut_down(self) -> int:
        """Let everything in flight finish within the exit timeout."""
        log.info("server.stopping", exit_timeout_secs=self._settings.exit_timeout_secs)
        self._phase.is_serving = False
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
        self._stop.set()

    def _refuse(self, reason: str) -> None:
        """Say on stderr, in the peer's words, why the exit code is not 0."""
        self._failure = reason
        sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()

    # --- signals ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _stop_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        yield
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # what is left takes an instant

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            self._at_once.set()
        self._stop.set()
        with contextlib.suppress(OSError):  # whoever read our output may be gone
            os.write(STDOUT_FD, f"Signal ({number}) received.\n".encode())
