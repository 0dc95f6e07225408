"""Entry of the server: what must be made before an event loop and threads exist.

Order: the server's identity, the door and the wake descriptors, which all children inherit; then
the spawner, forked while this process is small; then the supervisor. This process stays the root of
them all (`root`).
"""

import ctypes
import gc
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mpserve.control.door import make_door
from mpserve.control.patience import be_patient
from mpserve.errors import ConfigError, LoadError
from mpserve.settings import Allocator, Settings
from mpserve.settings.reading import Reading
from mpserve.settings.unix_address import unix_path
from mpserve.shm.server_note import ServerNote, write_note
from mpserve.shm.sweep import sweep_dead_servers
from mpserve.supervisor.allocator import find_allocator
from mpserve.supervisor.checkpoint import checkpoint_files
from mpserve.supervisor.descriptors import open_standard_streams, raise_limit
from mpserve.supervisor.entrypoints import ENTRY_POINTS, EntryPoints, with_grpc, without_standby
from mpserve.supervisor.inheritance import (
    FirstSpawner,
    Inheritance,
    claimed_identity,
    wake_descriptors,
)
from mpserve.supervisor.last_words import say
from mpserve.supervisor.pidfd import started_ticks
from mpserve.supervisor.process_title import set_process_title
from mpserve.supervisor.root import Root, SignalPipe
from mpserve.supervisor.service_manager import ServiceManager
from mpserve.supervisor.spawner import SpawnerArguments
from mpserve.supervisor.spawner_process import fork_spawner
from mpserve.supervisor.unix_socket import NO_SOCKET, bound_socket
from mpserve.supervisor.user_change import require_usable
from mpserve.telemetry import log

EXIT_FAILED: Final = 1
SUPERVISOR_TITLE: Final = "mps supervisor"
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def run(
    settings: Settings, *, reread: Callable[[], Reading], entry_points: EntryPoints = ENTRY_POINTS
) -> int:
    """Run a server until it is told to stop.

    Parameters
    ----------
    reread
        Reads the settings again, as they were read for this start.
    entry_points
        Programs of the children, by role.

    Returns
    -------
    int
        Exit code: 0 after an orderly end, 1 when it could not start or not end in time.
    """
    open_standard_streams()
    set_process_title("mpserve")
    gc.disable()  # until all is imported: nothing of that is garbage
    try:
        find_allocator(settings.allocator)
    except LoadError as error:
        say(f"mpserve: --allocator: {error.message}")
        return EXIT_FAILED
    _become_subreaper()
    raise_limit()
    try:
        if settings.worker_user is not None:
            # Few want it, and what configures programs costs a twentieth of a start.
            from mpserve.supervisor.program import import_directories  # noqa: PLC0415

            require_usable(settings.worker_user, import_directories())
        manager = ServiceManager.of(os.environ, pid=os.getpid())
        if settings.allow_grpc:
            entry_points = with_grpc(entry_points)
        if settings.worker_user is not None or settings.allocator is not Allocator.MALLOC:
            entry_points = without_standby(entry_points)
        return _run(settings, reread, entry_points, SignalPipe(), manager)
    except ConfigError as error:  # a Unix-domain socket, the workers' user
        say(error.message)
        return EXIT_FAILED


def _run(
    settings: Settings,
    reread: Callable[[], Reading],
    entry_points: EntryPoints,
    signals: SignalPipe,
    manager: ServiceManager,
) -> int:
    path = unix_path(settings.http_address) if settings.allow_http else None
    grpc_path = unix_path(settings.grpc.address) if settings.allow_grpc else None
    lent = manager.lent  # goes before the addresses
    path = None if lent.http is not None else path
    grpc_path = None if lent.grpc is not None else grpc_path
    inner, outer = make_door()
    with (
        inner,
        outer,
        bound_socket(path, mode=int(settings.http.socket_mode, 8), service="HTTP") as http_fd,
        bound_socket(grpc_path, mode=int(settings.grpc.socket_mode, 8), service="GRPC") as grpc_fd,
        claimed_identity() as identity,
        wake_descriptors(settings.frontends) as wake_fds,
    ):
        write_note(identity, ServerNote(pid=os.getpid()))
        inheritance = Inheritance(
            identity=identity,
            wake_fds=wake_fds,
            http_fd=http_fd if lent.http is None else lent.http,
            is_http_fd_lent=lent.http is not None,
            grpc_fd=grpc_fd if lent.grpc is None else lent.grpc,
            is_grpc_fd_lent=lent.grpc is not None,
            metrics_fd=NO_SOCKET if lent.metrics is None else lent.metrics,
            door=inner,
            door_fd=outer.fileno(),
            state_files=checkpoint_files(),
        )
        with _spawner(inheritance.kept_fds(), outer, entry_points, signals) as first:
            removed = sweep_dead_servers()
            if removed:
                log.info("segments.swept", count=removed)
            # Imported after the fork: the spawner has no use for an event loop; and before the
            # next one, so that a supervisor which takes over starts at once.
            from mpserve.supervisor.event_loop import run_server  # noqa: PLC0415

            gc.freeze()  # of supervisors, which are forks of this process
            gc.enable()

            def supervise(root: socket.socket) -> int:
                set_process_title(SUPERVISOR_TITLE)
                be_patient()  # no request waits for a supervisor
                return run_server(
                    settings,
                    reread=reread,
                    inheritance=inheritance,
                    root=root,
                    spawner=first,
                    entry_points=entry_points,
                )

            return Root(
                signals=signals,
                manager=manager,
                log_path=settings.log.log_file,
                supervise=supervise,
                handed_over=first.control,
                abandon=inner.close,
                meanwhile=_sweep_folders,
            ).run()


def _sweep_folders() -> None:
    """Remove what killed servers have left on disk; unlike their segments it is in no one's way."""
    from mpserve.repository import sweep_private_folders  # noqa: PLC0415  # as in `_run`

    folders = sweep_private_folders()
    if folders:
        log.info("folders.swept", count=folders)


@contextmanager
def _spawner(
    kept_fds: tuple[int, ...], door: socket.socket, entry_points: EntryPoints, signals: SignalPipe
) -> Iterator[FirstSpawner]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = fork_spawner(
            SpawnerArguments(
                control_fd=theirs.fileno(),
                kept_fds=kept_fds,
                entry_points=dict(entry_points),
                door_fd=door.fileno(),
            ),
            prepare=signals.leave,
        )
        theirs.close()
        yield FirstSpawner(pid=pid, started_ticks=started_ticks(pid), control=ours)


def _become_subreaper() -> None:
    """Make the children of a spawner that died ours, so that their ends are seen."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
