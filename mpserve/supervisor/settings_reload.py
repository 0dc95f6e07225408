"""Settings of a running server: read again when the root was told so, taken by all or by none.

Guarantees
    A reading that can not be used, or that differs in what may not change, changes nothing, and
    what is wrong with it is told to the log, the service manager and the server's note. A
    supervisor that takes over goes on by what was taken last.
Owner
    The supervisor's event loop; one reading is carried out at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mpserve.errors import ConfigError
from mpserve.settings import Settings
from mpserve.settings.certificates import server_context
from mpserve.settings.change import Difference, difference
from mpserve.settings.reading import Reading
from mpserve.shm.server_id import ServerIdentity
from mpserve.shm.server_note import ServerNote, read_note, write_note
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.root_link import RootLink
from mpserve.supervisor.trace_api import check_trace_file
from mpserve.telemetry import log
from mpserve.telemetry.log_file import redirect

KEY: Final = "settings"

Reread = Callable[[], Reading]
"""Reads command line, environment and files again; raises `ConfigError`."""
Take = Callable[[Settings], Awaitable[str]]
"""Makes all parts go on by settings; returns what of them could not be used, "" for nothing."""


def present_settings(first: Settings, checkpoint: Checkpoint) -> Settings:
    """Return what holds: what an earlier supervisor took last, else what the server began with."""
    return checkpoint.read(KEY, Settings) or first


class SettingsReload:
    """Reads and compares; `take` does the rest."""

    def __init__(
        self,
        *,
        present: Settings,
        reread: Reread,
        take: Take,
        reopen_log: Callable[[str], None],
        root: RootLink,
        identity: ServerIdentity,
        checkpoint: Checkpoint,
    ) -> None:
        self._present = present
        self._reread = reread
        self._take = take
        self._reopen_log = reopen_log
        self._root = root
        self._identity = identity
        self._checkpoint = checkpoint
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have the settings read again, once the server has started."""
        self._asked.set()

    async def run(self) -> None:
        """Carry out what is asked until cancelled; to be called when the server has started."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._carry_out()

    async def _carry_out(self) -> None:
        self._begin_log()
        try:
            wanted, found = await asyncio.to_thread(self._read)
        except ConfigError as error:
            self._refuse(error.message)
            return
        except Exception as error:  # noqa: BLE001  the border: the server goes on as it was
            self._refuse(f"internal error: {error!r}")
            return
        self._present = wanted
        self._checkpoint.put(KEY, wanted)  # first: who takes over reads again, and tells all
        try:
            fault = await self._take(wanted)
        except TimeoutError:
            fault = "a frontend does not answer; what it does not take, the next one has"
        if fault:
            log.error("settings.failed", reason=fault)
        log.info("settings.taken", changed=", ".join(found.changed) or "nothing")
        self._told(changed=found.changed, fault=fault)

    def _begin_log(self) -> None:
        """Write to the file that has the log's name now: the last one may have been moved away."""
        path = self._present.log.log_file
        try:
            redirect(path)
        except OSError as error:
            log.error("log.kept", path=path, reason=error.strerror)
        self._reopen_log(path)

    def _read(self) -> tuple[Settings, Difference]:
        """Return settings that may be taken as a whole; raises `ConfigError` for others."""
        wanted = self._reread().settings
        found = difference(self._present, wanted)
        if found.refused:
            raise ConfigError(
                f"{', '.join(found.refused)} can not change while the server runs: start it anew, "
                "or undo the change"
            )
        if wanted.http.use_ssl:
            server_context(wanted.http, flags="http")
        if wanted.grpc.use_ssl:
            server_context(wanted.grpc, flags="grpc")
        if wanted.trace != self._present.trace:
            check_trace_file(wanted.trace)
        return wanted, found

    def _refuse(self, reason: str) -> None:
        reason = reason.encode(errors="replace").decode()  # of paths that are no UTF-8
        log.error("settings.refused", reason=reason)
        self._told(changed=(), fault=f"nothing changed: {reason}")

    def _told(self, *, changed: tuple[str, ...], fault: str) -> None:
        before = read_note(self._identity)
        note = ServerNote(
            pid=before.pid, readings=before.readings + 1, changed=changed, fault=fault
        )
        outcome = fault or f"changed {', '.join(changed) or 'nothing'}"
        self._root.settings_reloaded(f"serving; settings read again: {outcome}")
        write_note(self._identity, note)
