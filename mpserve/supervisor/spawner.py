"""The spawner: a single-threaded template process that forks workers and frontends on request.

Guarantees
    A fork never meets another thread or an event loop. What the roles need is imported once and
    frozen, so that a child starts in milliseconds and shares the memory. `Spawned` is sent before
    the `ChildExited` of the same child.
Assumes
    It is forked by the supervisor before anything heavy is imported, or executed anew as
    `python -m mpserve.supervisor.spawner` when the first one died (the supervisor has an event loop
    and threads by then).
Owner
    The supervisor. When the control socket ends, the spawner rings at the door (`control.door`) and
    tells the next supervisor who lives; when nobody is behind it any more, it ends. Its children
    live on and see the end of their own sockets.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mpserve.control import messages
from mpserve.control.door import NO_DOOR, Caller, ring
from mpserve.control.framing import FrameDecoder, encode_frame
from mpserve.control.messages import (
    ChildExited,
    FromSpawner,
    Program,
    Spawn,
    Spawned,
    SpawnerBack,
    SpawnFailed,
    StopSpawner,
    ToSpawner,
    WorkerLoadFailed,
)
from mpserve.errors import MpserveError
from mpserve.supervisor.descriptors import close_all_but
from mpserve.supervisor.entrypoints import EntryPoint, EntryPoints
from mpserve.supervisor.library_threads import LibraryThreads
from mpserve.supervisor.process_title import set_process_title
from mpserve.supervisor.wait_status import WAITED_FOR, told_by

EXIT_CRASHED: Final = 70  # EX_SOFTWARE: the entry point raised
EXIT_NOT_EXECUTED: Final = 66  # EX_NOINPUT: there is no such program
FDS_PER_SPAWN: Final = 2  # control socket, stderr
KEPT_ENDS: Final = 256  # told to a supervisor that takes over; more do not die within a second
_READ_BYTES: Final = 1 << 16
_STDERR_FD: Final = 2


class SpawnerArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What a spawner is started with; the descriptors have these numbers in it and its children."""

    control_fd: int
    kept_fds: tuple[int, ...]
    entry_points: dict[str, EntryPoint]
    door_fd: int = NO_DOOR


class Spawner:
    """State of the spawner process."""

    def __init__(self, control: socket.socket, arguments: SpawnerArguments) -> None:
        self._control = control
        self._entry_points: EntryPoints = arguments.entry_points
        self._kept_fds = arguments.kept_fds
        self._door_fd = arguments.door_fd
        self._decoder: FrameDecoder[Spawn | StopSpawner] = FrameDecoder(ToSpawner)
        self._fds: deque[int] = deque()
        self._unloaded = deque(
            module for row in self._entry_points.values() for module in row.preload
        )
        self._threads = LibraryThreads(os.environ)
        self._children: dict[int, int] = {}  # pid: spawn id
        self._ended: deque[ChildExited] = deque(maxlen=KEPT_ENDS)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_open = True

    def run(self) -> int:
        """Serve until the server is gone, or said stop and no child is left."""
        self._threads.begin()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a service manager signals the whole group
        signal.signal(signal.SIGCHLD, _note_signal)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (self._control.fileno(), self._wake_read):
            poll.register(fd, select.POLLIN)
        while self._is_open or self._children:
            readable = {fd for fd, _ in poll.poll(0 if self._unloaded else None)}
            if self._wake_read in readable:
                os.read(self._wake_read, _READ_BYTES)
                self._reap()
            if self._control.fileno() in readable and not self._receive():
                poll.unregister(self._control.fileno())
                if not self._come_back():
                    return 0
                poll.register(self._control.fileno(), select.POLLIN)
            if not readable:
                self._preload_next()
        return 0

    def _preload_next(self) -> None:
        """Import one module of those that are left, so that a request waits for one at most."""
        _import(self._unloaded.popleft())

    def _preload_role(self, role: str) -> None:
        """Import what `role` needs before its first child, which would pay for it alone."""
        needed = [one for one in self._entry_points[role].preload if one in self._unloaded]
        for module in needed:
            self._unloaded.remove(module)
            _import(module)

    def _receive(self) -> bool:
        """Take what arrived; false when the supervisor is gone."""
        try:
            chunk, fds, _, _ = socket.recv_fds(self._control, _READ_BYTES, 64)
        except ConnectionResetError:
            return False
        self._fds.extend(fds)
        for message in self._decoder.feed(chunk):
            if isinstance(message, StopSpawner):
                self._is_open = False
            else:
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
        living = tuple(Spawned(spawn_id=one, pid=pid) for pid, one in self._children.items())
        self._send(SpawnerBack(living=living, ended=tuple(self._ended)))
        return True

    def _spawn(self, message: Spawn) -> None:
        fds = [self._fds.popleft() for _ in range(FDS_PER_SPAWN)]
        self._preload_role(message.role)
        gc.freeze()  # the children's collector leaves alone what they share with us
        if message.threads:
            self._threads.set(message.threads)
        try:
            pid = os.fork()
        except OSError as error:
            self._send(SpawnFailed(spawn_id=message.spawn_id, reason=str(error)))
        else:
            if pid == 0:
                self._become_child(message, control_fd=fds[0], stderr_fd=fds[1])
            self._children[pid] = message.spawn_id
            self._send(Spawned(spawn_id=message.spawn_id, pid=pid))
        for fd in fds:
            os.close(fd)

    def _become_child(self, message: Spawn, *, control_fd: int, stderr_fd: int) -> None:
        """Never returns."""
        exit_code = EXIT_CRASHED
        try:
            gc.enable()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(stderr_fd, _STDERR_FD)
            for fd in (stderr_fd, self._wake_read, self._wake_write, *self._fds):
                os.close(fd)
            self._control.close()
            set_process_title(message.title)
            entry_point = self._entry_points[message.role]
            control = socket.socket(fileno=control_fd)
            if message.program is not None:
                exit_code = self._execute(message, message.program, entry_point, control)
            else:
                exit_code = run_entry_point(entry_point, message.start, control)
        except SystemExit as error:
            exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001  # the border of the process: told, then it ends
            traceback.print_exc()
        finally:
            _flush_streams()
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
                kept_fds=self._kept_fds,
                environ=os.environ,
            )
        except MpserveError as error:
            failed = WorkerLoadFailed(failure=error.failure(), traceback=traceback.format_exc())
            control.sendall(encode_frame(failed))
        return EXIT_NOT_EXECUTED

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, WAITED_FOR)
            except ChildProcessError:
                return
            if pid == 0:
                return
            news = told_by(pid, status)
            if isinstance(news, ChildExited):
                self._children.pop(pid, None)
                self._ended.append(news)
            self._send(news)

    def _send(self, message: FromSpawner) -> None:
        try:
            self._control.sendall(encode_frame(message))
        except (BrokenPipeError, ConnectionResetError):
            return  # the end of the stream is read next


def run_entry_point(entry_point: EntryPoint, start: bytes, control: socket.socket) -> int:
    """Call the program of `entry_point` in this process; return its exit code."""
    module, _, function = entry_point.target.partition(":")
    main = getattr(importlib.import_module(module), function)
    decoded = msgspec.msgpack.decode(start, type=getattr(messages, entry_point.start))
    return int(main(decoded, control))


def fork_spawner(arguments: SpawnerArguments, *, prepare: Callable[[], None]) -> int:
    """Fork the spawner from this process, which must have one thread only; return its pid.

    Parameters
    ----------
    prepare
        Called in the fork, before anything else.
    """
    pid = os.fork()
    if pid:
        return pid
    exit_code = EXIT_CRASHED
    try:
        prepare()
        exit_code = spawner_main(arguments)
    except BaseException:  # noqa: BLE001  # the border of the process: told, then it ends
        traceback.print_exc()
    finally:
        _flush_streams()
        os._exit(exit_code)


def execute_spawner(arguments: SpawnerArguments) -> int:
    """Start a spawner as a new program, from a process that may have threads; return its pid."""
    command = [sys.executable, "-m", "mpserve.supervisor.spawner"]
    return os.posix_spawn(
        sys.executable,
        [*command, msgspec.json.encode(arguments).decode()],
        os.environ,
        file_actions=[
            # A descriptor duplicated onto itself loses its close-on-exec flag.
            (os.POSIX_SPAWN_DUP2, fd, fd)
            for fd in (arguments.control_fd, *arguments.kept_fds)
        ],
    )


def spawner_main(arguments: SpawnerArguments) -> int:
    """Be the spawner; returns its exit code."""
    gc.disable()  # a collection would leave holes in pages, which the children then write to
    close_all_but({0, 1, 2, arguments.control_fd, *arguments.kept_fds})
    set_process_title("mpserve spawner")
    control = socket.socket(fileno=arguments.control_fd)
    control.settimeout(None)
    return Spawner(control, arguments).run()


def _note_signal(_number: int, _frame: object) -> None:
    """The wake-up descriptor has told it already."""


def _import(module: str) -> None:
    """Import `module` early. One that can not be imported is told about where it is needed."""
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001  # any code may run at import
        traceback.print_exc()


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def main(argv: Sequence[str]) -> int:
    """Run as a program: the one argument is `SpawnerArguments` as JSON."""
    return spawner_main(msgspec.json.decode(argv[1], type=SpawnerArguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
