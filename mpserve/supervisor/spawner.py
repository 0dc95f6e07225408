"""The spawner: a single-threaded template process that forks workers and frontends on request.

Guarantees
    A fork never meets another thread or an event loop. What the roles need is imported once and
    frozen, so that a child starts in milliseconds and shares the memory. `Spawned` is sent before
    the `ChildExited` of the same child.
Assumes
    The process has one thread (`spawner_process`).
Owner
    The supervisor. When the control socket ends, the spawner rings at the door (`control.door`) and
    tells the next supervisor who lives; when nobody is behind it any more, it ends. Its children
    live on and see the end of their own sockets.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.control.door import NO_DOOR, Caller, ring
from mpserve.control.framing import FrameDecoder, encode_frame
from mpserve.control.messages import WorkerLoadFailed
from mpserve.control.patience import be_prompt
from mpserve.control.spawner_messages import (
    ChildExited,
    EndTemplate,
    FromSpawner,
    Program,
    ReopenLog,
    Spawn,
    Spawned,
    SpawnerBack,
    SpawnFailed,
    StopSpawner,
    ToSpawner,
)
from mpserve.errors import MpserveError
from mpserve.supervisor import standby
from mpserve.supervisor.entry import Run, decoded, named, run_begun
from mpserve.supervisor.entrypoints import EntryPoint, EntryPoints
from mpserve.supervisor.last_words import flush_streams, say_traceback
from mpserve.supervisor.library_threads import LibraryThreads
from mpserve.supervisor.preloads import Preloads
from mpserve.supervisor.process_title import set_process_title
from mpserve.supervisor.standby import Standby, StandbyEnds, World, await_birth, say_ready
from mpserve.supervisor.templates import TemplateEnds, Templates
from mpserve.supervisor.user_change import become
from mpserve.supervisor.wait_status import WAITED_FOR, told_by
from mpserve.telemetry.log_file import redirect

EXIT_CRASHED: Final = 70  # EX_SOFTWARE: the entry point raised
EXIT_NOT_EXECUTED: Final = 66  # EX_NOINPUT: there is no such program
FDS_PER_SPAWN: Final = 2  # control socket, stderr
KEPT_ENDS: Final = 256  # told to a supervisor that takes over; more do not die within a second
_READ_BYTES: Final = 1 << 16
_STDERR_FD: Final = 2
TEMPLATE_TITLE: Final = "mps template"


class SpawnerArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What a spawner is started with; the descriptors have these numbers in it and its children."""

    control_fd: int
    kept_fds: tuple[int, ...]
    entry_points: dict[str, EntryPoint]
    door_fd: int = NO_DOOR


class Spawner:
    """State of the spawner process."""

    def __init__(
        self,
        control: socket.socket,
        arguments: SpawnerArguments,
        *,
        run: Run,
        forks_once: bool = False,
    ) -> None:
        self._forks_once = forks_once
        self._run = run
        self._templates = Templates(
            fork=lambda message, ends: self._forked(lambda: self._be_template(message, ends)),
            send=self._send,
        )
        self._control = control
        self._entry_points: EntryPoints = arguments.entry_points
        self._kept_fds = arguments.kept_fds
        self._door_fd = arguments.door_fd
        self._decoder: FrameDecoder[Spawn | EndTemplate | ReopenLog | StopSpawner] = FrameDecoder(
            ToSpawner
        )
        self._fds: deque[int] = deque()
        self._preloads = Preloads(self._entry_points)
        self._threads = LibraryThreads(os.environ)
        rows = self._entry_points.items()
        self._standby_role = next((role for role, row in rows if row.standby), "")
        self._standby = Standby(fork=lambda ends: self._forked(lambda: self._stand_by(ends)))
        self._children: dict[int, int] = {}  # pid: spawn id
        self._ended: deque[ChildExited] = deque(maxlen=KEPT_ENDS)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_open = True

    def run(self) -> int:
        """Serve until the server is gone, or said stop and no child is left."""
        self._threads.begin()
        # A service manager or a terminal signals the whole group.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _note_signal)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (self._control.fileno(), self._wake_read):
            poll.register(fd, select.POLLIN)
        while self._is_open or self._children or self._standby:
            for fd in self._templates.descriptors():
                poll.register(fd, select.POLLIN)
            readable = {fd for fd, _ in poll.poll(self._quiet_ms())}
            for fd in self._templates.descriptors():
                poll.unregister(fd)
            self._templates.receive(readable)
            if self._wake_read in readable:
                os.read(self._wake_read, _READ_BYTES)
                self._reap()
            if self._control.fileno() in readable and not self._receive():
                poll.unregister(self._control.fileno())
                if not self._come_back():
                    return 0
                poll.register(self._control.fileno(), select.POLLIN)
            if not readable:
                self._prepare()
        return 0

    def _quiet_ms(self) -> int | None:
        """Return how long nothing is to be asked for until there is something to prepare."""
        if self._preloads:
            return self._preloads.wait_ms
        return self._standby.wait_ms() if self._standby_role and self._is_open else None

    def _prepare(self) -> None:
        if self._preloads:
            self._preloads.import_next()
        else:
            if not self._threads.are_set:  # what a model with one instance gets
                self._threads.set(len(os.sched_getaffinity(0)))
            gc.freeze()
            self._standby.make(self._world())

    def _world(self) -> World:
        return World(modules=self._preloads.of_births, threads=self._threads.count)

    def _receive(self) -> bool:
        """Take what arrived; false when the supervisor is gone."""
        try:
            chunk, fds, _, _ = socket.recv_fds(self._control, _READ_BYTES, 64)
        except ConnectionResetError:
            return False
        self._fds.extend(fds)
        for message in self._decoder.feed(chunk):
            match message:
                case StopSpawner():
                    self._is_open = False
                    self._templates.end_all()
                    self._standby.end()
                case EndTemplate():
                    self._templates.end(message.template)
                case ReopenLog():
                    self._standby.end()  # it has the former file
                    self._templates.reopen_log(message)
                    with contextlib.suppress(OSError):  # told by the supervisor
                        redirect(message.path)
                case Spawn():
                    self._spawn(message)
        return bool(chunk)

    def _come_back(self) -> bool:
        """Turn to the next supervisor, and tell it all; false when there will be none."""
        control = ring(self._door_fd, Caller(process_index=0, epoch=0, pid=os.getpid()))
        if control is None:
            return False
        self._control.close()
        self._control = control
        self._decoder = FrameDecoder(ToSpawner)
        while self._fds:  # of a request that was cut off
            os.close(self._fds.popleft())
        self._templates.end_unused()
        living = [Spawned(spawn_id=one, pid=pid) for pid, one in self._children.items()]
        living += self._templates.living()
        self._send(SpawnerBack(living=tuple(living), ended=tuple(self._ended)))
        return True

    def _spawn(self, message: Spawn) -> None:
        fds = [self._fds.popleft() for _ in range(FDS_PER_SPAWN)]
        self._preloads.import_for(message)
        gc.freeze()  # the children's collector leaves alone what they share with us
        if message.birth.threads:
            self._threads.set(message.birth.threads)
        if message.birth.template:
            self._templates.spawn(message, fds)
        elif not self._bear(message, fds):
            self._fork(message, fds)
        for fd in fds:
            os.close(fd)

    def _bear(self, message: Spawn, fds: list[int]) -> bool:
        """Let the one that stands by be the child; false when a fork must."""
        birth = message.birth
        # Who gives up rights must be one thread: some are a thread's own (no_new_privs).
        if message.role != self._standby_role or birth.program or birth.user:
            return False
        pid = self._standby.bear(message, fds, self._world())
        if pid is None:
            return False
        self._note_child(message, pid)
        return True

    def _fork(self, message: Spawn, fds: list[int]) -> None:
        try:
            pid = self._forked(lambda: self._be_child(message, *fds, run=self._run))
        except OSError as error:
            self._send(SpawnFailed(spawn_id=message.spawn_id, reason=str(error)))
        else:
            self._note_child(message, pid)

    def _note_child(self, message: Spawn, pid: int) -> None:
        self._children[pid] = message.spawn_id
        self._is_open = self._is_open and not self._forks_once
        self._send(Spawned(spawn_id=message.spawn_id, pid=pid))

    def _stand_by(self, ends: StandbyEnds) -> int:
        """Be a worker that waits for its birth."""
        ends.spawners.close()
        set_process_title(standby.UNREADY_TITLE)
        run = run_begun(self._entry_points[self._standby_role])
        gc.freeze()  # the collector leaves alone what it has made, too
        say_ready(ends.standbys)
        set_process_title(standby.TITLE)
        born = await_birth(ends.standbys)
        if born is None:
            return 0
        return self._be_child(born.message, born.control_fd, born.stderr_fd, run=run)

    def _be_template(self, message: Spawn, ends: TemplateEnds) -> int:
        """Be the process that loads the model of `message`, and forks its instances."""
        ends.spawners.close()
        os.close(ends.instance_fd)
        set_process_title(f"{TEMPLATE_TITLE}{message.title.removeprefix('mps')}")
        _change_user(message)
        entry_point = self._entry_points[message.role]
        return be_template(entry_point, message, ends.templates, stderr_fd=ends.stderr_fd)

    def _leave(self) -> None:
        """In a fork: give up what is the spawner's alone."""
        be_prompt()
        gc.enable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._wake_read, self._wake_write, *self._fds):
            os.close(fd)
        self._control.close()
        self._templates.leave()
        self._standby.leave()

    def _be_child(self, message: Spawn, control_fd: int, stderr_fd: int, *, run: Run) -> int:
        os.dup2(stderr_fd, _STDERR_FD)
        os.close(stderr_fd)
        set_process_title(message.title)
        _change_user(message)
        entry_point = self._entry_points[message.role]
        control = socket.socket(fileno=control_fd)
        program = message.birth.program
        if program is not None:
            return self._execute(message, program, entry_point, control)
        return run(entry_point, message.start, control)

    def _forked(self, program: Callable[[], int]) -> int:
        """Fork a process that is `program`; return its pid."""
        pid = os.fork()
        if pid:
            return pid
        exit_code = EXIT_CRASHED
        try:
            self._leave()
            exit_code = program()
        except SystemExit as error:
            exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001  # the border of the process: told, then it ends
            say_traceback()
        finally:
            flush_streams()
            os._exit(exit_code)

    def _execute(
        self, message: Spawn, program: Program, entry_point: EntryPoint, control: socket.socket
    ) -> int:
        """Replace this child by a program; returns only when that is not possible."""
        # Imported in the child: the spawner itself has no use for archives and subprocesses.
        from mpserve.supervisor.program import Execution, execute  # noqa: PLC0415

        try:
            execute(
                program,
                Execution(
                    target=entry_point.target,
                    start_type=entry_point.start,
                    start=message.start,
                    title=message.title,
                    control_fd=control.fileno(),
                ),
                kept_fds=set(self._kept_fds) - set(message.birth.closes),
                environ=os.environ,
            )
        except MpserveError as error:
            failed = WorkerLoadFailed(failure=error.failure(), traceback=traceback.format_exc())
            control.sendall(encode_frame(failed))
        return EXIT_NOT_EXECUTED

    def _reap(self) -> None:
        while self._children or self._templates or self._standby:
            try:
                pid, status = os.waitpid(-1, WAITED_FOR)
            except ChildProcessError:
                return
            if pid == 0:
                return
            news = told_by(pid, status)
            if self._standby.took(news):
                continue
            if isinstance(news, ChildExited) and self._templates.ended(pid):
                continue
            if isinstance(news, ChildExited):
                self._children.pop(pid, None)
                self._ended.append(news)
            self._send(news)

    def _send(self, message: FromSpawner) -> None:
        try:
            self._control.sendall(encode_frame(message))
        except (BrokenPipeError, ConnectionResetError):
            return  # the end of the stream is read next


def be_template(
    entry_point: EntryPoint, first: Spawn, control: socket.socket, *, stderr_fd: int
) -> int:
    """Load what `first` starts, then fork what `control` asks for; return the exit code.

    What the load prints is the first child's. A load that failed is told by that child alone: the
    next one gets a template of its own.
    """
    stderr = os.dup(_STDERR_FD)
    os.dup2(stderr_fd, _STDERR_FD)
    os.close(stderr_fd)
    loaded = named(entry_point.template)(decoded(entry_point, first.start))
    os.dup2(stderr, _STDERR_FD)
    os.close(stderr)
    gc.disable()

    def run(row: EntryPoint, start: bytes, connected: socket.socket) -> int:
        return int(named(row.instance)(loaded, decoded(row, start), connected))

    arguments = SpawnerArguments(
        control_fd=control.fileno(),
        kept_fds=(),
        entry_points={
            first.role: msgspec.structs.replace(
                entry_point, preload=(), preload_later=(), standby=""
            )
        },
    )
    return Spawner(control, arguments, run=run, forks_once=not loaded.is_usable).run()


def _change_user(message: Spawn) -> None:
    if message.birth.user is not None:
        become(message.birth.user, closes=message.birth.closes)


def _note_signal(_number: int, _frame: object) -> None:
    """The wake-up descriptor has told it already."""
