"""The root: the process that keeps a supervisor running and owns what must outlive it.

Guarantees
    There is one supervisor at a time: the next one starts when the last one is reaped. Signals
    reach it, also those that came while there was none. A supervisor that hangs is killed. When the
    root ends, no process of the server is left.
Assumes
    One thread and no event loop, so that it may fork. Everything the supervisor needs is imported
    already: the next one starts within milliseconds.
Owner
    Whoever started the server: this is the process that was started. When it is killed, the
    supervisor sees the end of its socket and ends in order.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from mpserve.control.framing import FrameDecoder, encode_frame
from mpserve.control.message import Message
from mpserve.control.messages import SetLog
from mpserve.control.root_messages import (
    Alive,
    Notice,
    ReloadSettings,
    ServerEnded,
    SettingsReloaded,
    StopServer,
    ToRoot,
)
from mpserve.control.spawner_messages import ChildExited
from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns
from mpserve.supervisor.last_words import flush_streams, say_traceback
from mpserve.supervisor.service_manager import ServiceManager
from mpserve.supervisor.wait_status import WAITED_FOR, told_by
from mpserve.telemetry import log
from mpserve.telemetry.log_file import redirect

EXIT_FAILED: Final = 1
POLICY: Final = RestartPolicy(max_deaths=20, window_ns=15_000_000_000, max_delay_ns=500_000_000)
"""Lenient: giving up ends the whole server. One that dies at once is given up after ten seconds."""

STOPPED_SECONDS: Final = 3.0  # it can not do anything then
OWN_STOP_SECONDS: Final = 3.0  # we look every second
HUNG_SECONDS: Final = 10.0  # far beyond any turn of its loop
ORPHAN_SECONDS: Final = 35.0  # a worker without a server ends after 30
LEFT_SECONDS: Final = 1.0  # after an orderly end only what models started may be left
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
HANG_UP: Final = signal.SIGHUP
TERMINAL: Final = "/dev/tty"
_READ_BYTES: Final = 1 << 16
_SECOND_NS: Final = 1_000_000_000


class SignalPipe:
    """Signals as bytes on a pipe. In force from the moment it is made."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, HANG_UP, signal.SIGCHLD):
            signal.signal(number, _noted)

    def read(self) -> bytes:
        """Return the numbers of the signals that came, in order."""
        try:
            return os.read(self.read_fd, _READ_BYTES)
        except BlockingIOError:
            return b""

    def leave(self) -> None:
        """Have no part in it: for a child."""
        signal.set_wakeup_fd(-1)
        os.close(self.read_fd)
        os.close(self._write_fd)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (*STOP_SIGNALS, HANG_UP):  # they are for the root, who tells us
            signal.signal(number, signal.SIG_IGN)


class _Running(msgspec.Struct, kw_only=True):
    """The present supervisor.

    Attributes
    ----------
    heard_ns
        When it was alive last; `None` before its loop turned.
    stopped_ns
        Since when it is stopped by a signal.
    exit_code
        What it said that it ends with.
    """

    pid: int
    control: socket.socket
    decoder: FrameDecoder[Alive | Notice | SetLog | SettingsReloaded | ServerEnded]
    is_open: bool = True
    heard_ns: int | None = None
    stopped_ns: int | None = None
    exit_code: int | None = None


class Root:
    """Keeps a supervisor running until one ends on purpose.

    Parameters
    ----------
    supervise
        Is the supervisor, in a fork; gets its socket to the root, returns the exit code.
    manager
        Is told what the supervisor says of itself.
    log_path
        Of the log's file, which is opened again with the settings; "" for none.
    handed_over
        What the first supervisor alone has; closed here once it runs.
    abandon
        Closes the door: who rings knows that there is no server any more.
    meanwhile
        Done once, while the first supervisor starts.
    """

    def __init__(
        self,
        *,
        signals: SignalPipe,
        supervise: Callable[[socket.socket], int],
        handed_over: socket.socket,
        manager: ServiceManager,
        log_path: str,
        abandon: Callable[[], None],
        meanwhile: Callable[[], None],
    ) -> None:
        self._signals = signals
        self._supervise = supervise
        self._handed_over = handed_over
        self._abandon = abandon
        self._meanwhile = meanwhile
        self._manager = manager
        self._log_path = log_path
        self._has_terminal = _has_terminal()
        self._is_reload_open = False
        self._has_lived = False  # some supervisor
        self._running: _Running | None = None
        self._stops: list[StopServer] = []
        self._untold: list[ChildExited] = []  # ends that no supervisor was there to hear of
        self._deaths = Deaths()
        self._start_at_ns = 0
        self._exit_code: int | None = None
        self._is_given_up = False

    def run(self) -> int:
        """Return the exit code of the server, when nothing of it is left."""
        self._start()
        self._meanwhile()
        while self._exit_code is None:
            if self._running is None and time.monotonic_ns() >= self._start_at_ns:
                self._start()
            begun_ns = time.monotonic_ns()
            self._wait()
            if _is_older(begun_ns, OWN_STOP_SECONDS, time.monotonic_ns()):
                self._forgive()  # we were stopped ourselves, and perhaps with us the supervisor
            self._kill_hung()
        self._abandon()
        self._outlive()
        return self._exit_code

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become_supervisor(ours, theirs)
        theirs.close()
        self._handed_over.close()
        ours.setblocking(False)  # noqa: FBT003  # the function's only form
        self._running = _Running(pid=pid, control=ours, decoder=FrameDecoder(ToRoot))
        for message in (*self._stops, *self._untold):
            self._tell(message)
        if self._is_reload_open:
            self._tell(ReloadSettings())
        self._untold.clear()

    def _become_supervisor(self, ours: socket.socket, theirs: socket.socket) -> None:
        """Never returns."""
        exit_code = EXIT_FAILED
        try:
            ours.close()
            self._signals.leave()
            exit_code = self._supervise(theirs)
        except BaseException:  # noqa: BLE001  # the border of the process: told, then it ends
            say_traceback()
        finally:
            flush_streams()
            os._exit(exit_code)

    def _wait(self) -> None:
        """Sleep until something happens, and take it."""
        poll = select.poll()
        poll.register(self._signals.read_fd, select.POLLIN)
        if self._running is not None and self._running.is_open:
            poll.register(self._running.control, select.POLLIN)
        readable = {fd for fd, _ in poll.poll(self._patience_ms())}
        if self._running is not None and self._running.control.fileno() in readable:
            self._hear(self._running)
        if self._signals.read_fd in readable:
            self._take_signals()

    def _patience_ms(self) -> int:
        if self._running is None:
            wait_ns = max(self._start_at_ns - time.monotonic_ns(), 0)
            return wait_ns // 1_000_000 + 1
        return 1000

    def _take_signals(self) -> None:
        for number in self._signals.read():
            if number in STOP_SIGNALS or (number == HANG_UP and self._has_lost_terminal()):
                stop = StopServer(signal_number=number)
                self._stops.append(stop)
                self._tell(stop)
            elif number == HANG_UP and not self._stops:
                self._reload()
        self._reap()

    def _has_lost_terminal(self) -> bool:
        """Tell whether a hang-up is one: the terminal that it was started from is gone."""
        return self._has_terminal and not _has_terminal()

    def _reload(self) -> None:
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            redirect(self._log_path)
        except OSError as error:
            log.error("log.kept", path=self._log_path, reason=error.strerror)
        self._is_reload_open = True
        self._tell(ReloadSettings())

    def _hear(self, running: _Running) -> bool:
        """Take what the supervisor says; false when there is nothing more."""
        try:
            chunk = running.control.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            running.is_open = False
            return False
        for message in running.decoder.feed(chunk):
            match message:
                case Alive():
                    running.heard_ns = time.monotonic_ns()
                    self._has_lived = True
                    self._manager.beat()
                case Notice():
                    self._manager.tell(*message.lines)
                case SetLog():
                    log.switch(message.switches)
                case SettingsReloaded():
                    self._is_reload_open = False
                case ServerEnded():
                    running.exit_code = message.exit_code
        return True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, WAITED_FOR)
            except ChildProcessError:
                return
            if pid == 0:
                return
            news = told_by(pid, status)
            if self._running is None or pid != self._running.pid:
                self._tell(news)
            elif isinstance(news, ChildExited):
                self._on_supervisor_ended(self._running, os.waitstatus_to_exitcode(status))
            else:
                self._running.stopped_ns = time.monotonic_ns() if news.is_stopped else None

    def _on_supervisor_ended(self, running: _Running, code: int) -> None:
        while self._hear(running):  # its last words
            continue
        running.control.close()
        self._running = None
        if running.exit_code is not None:
            self._exit_code = running.exit_code
            return
        log.error("supervisor.died", pid=running.pid, exit_code=code)
        if not self._has_lived and code >= 0:  # it would not start the next time either
            self._is_given_up = True
            self._exit_code = code or EXIT_FAILED
            return
        now_ns = time.monotonic_ns()
        self._deaths = record_death(self._deaths, now_ns=now_ns, policy=POLICY)
        again_ns = restart_at_ns(self._deaths, policy=POLICY)
        if again_ns is None:
            log.error("supervisor.given_up", deaths=len(self._deaths.at_ns))
            self._is_given_up = True
            self._exit_code = EXIT_FAILED
            return
        self._start_at_ns = again_ns

    def _tell(self, message: Message) -> None:
        if self._running is None:
            if isinstance(message, ChildExited):
                self._untold.append(message)
            return
        try:
            self._running.control.send(encode_frame(message))
        except OSError:  # it is gone, or hangs
            return

    def _forgive(self) -> None:
        """Count anew from now on how long the supervisor says nothing."""
        if self._running is not None and self._running.heard_ns is not None:
            self._running.heard_ns = time.monotonic_ns()

    def _kill_hung(self) -> None:
        running = self._running
        if running is None:
            return
        now_ns = time.monotonic_ns()
        is_hung = _is_older(running.heard_ns, HUNG_SECONDS, now_ns)
        if is_hung or _is_older(running.stopped_ns, STOPPED_SECONDS, now_ns):
            os.kill(running.pid, signal.SIGKILL)  # not reaped, so the pid is still its own

    def _outlive(self) -> None:
        """Wait for what is left to end; kill it past the deadline."""
        deadline = time.monotonic() + (ORPHAN_SECONDS if self._is_given_up else LEFT_SECONDS)
        while _is_any_left():
            if time.monotonic() > deadline:
                for pid in _children():
                    os.kill(pid, signal.SIGKILL)
            select.select([self._signals.read_fd], [], [], 0.05)
            self._signals.read()


def _is_older(since_ns: int | None, seconds: float, now_ns: int) -> bool:
    return since_ns is not None and now_ns - since_ns > seconds * _SECOND_NS


def _is_any_left() -> bool:
    """Reap who has ended; true while a child is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _noted(_number: int, _frame: object) -> None:
    """The pipe has it already."""
