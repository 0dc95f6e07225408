"""A model that is loaded once, in a template process, for all its instances, which are forks of it.

Guarantees
    What a fork does not have, or must not share, is found after the load: threads, and sockets and
    the like fail it, open files are told in the log.
Assumes
    The model does not care which instance it is while it loads: it is told the first one's name.
Source: pages are shared until somebody writes to them (fork(2)); threads are not copied.
"""

import contextlib
import os
import socket
import threading
import time
import traceback
from pathlib import Path
from typing import Final

from mpserve.control.messages import WorkerLoadFailed, WorkerStart
from mpserve.errors import LoadError, MpserveError
from mpserve.telemetry import log
from mpserve.worker.cpu_binding import bind_to
from mpserve.worker.loading import Loaded, load
from mpserve.worker.main import main as worker_main
from mpserve.worker.main import prepare
from mpserve.worker.memory_bound import bound_memory
from mpserve.worker.openmp_pools import end_pools
from mpserve.worker.supervisor_link import SupervisorLink

_TASKS: Final = Path("/proc/self/task")
_DESCRIPTORS: Final = Path("/proc/self/fd")
_ENDING_S: Final = 1.0  # that threads which were told to end may take
_LOOK_S: Final = 0.005
_SHARED_STATE: Final = ("socket:", "pipe:", "anon_inode:")
_UNFIT: Final = "the weights of this model can not be shared by its instances"


class SharedModel:
    """What a template has loaded, or why it could not."""

    def __init__(self, loaded: Loaded | WorkerLoadFailed) -> None:
        self.loaded = loaded

    @property
    def is_usable(self) -> bool:
        """Whether more instances can be made of it."""
        return isinstance(self.loaded, Loaded)


def load_shared(start: WorkerStart) -> SharedModel:
    """Load the model of `start` in this process, which will only fork from then on."""
    prepare(start)
    before = open_descriptors()
    try:
        bound_memory(start.config.memory_limit_mib)
        loaded = load(start)
        require_no_threads()
        look_at_descriptors(open_descriptors() - before, model=start.instance.name)
    except MpserveError as error:
        failed = WorkerLoadFailed(failure=error.failure(), traceback=traceback.format_exc())
        return SharedModel(failed)
    return SharedModel(loaded)


def main(shared: SharedModel, start: WorkerStart, control: socket.socket) -> int:
    """Be the worker of an instance of what was loaded; return the exit code."""

    def take(link: SupervisorLink) -> Loaded | None:
        if isinstance(shared.loaded, WorkerLoadFailed):
            link.tell(shared.loaded)
            return None
        try:
            bind_to(start.cpus)
        except MpserveError as error:
            link.tell(WorkerLoadFailed(failure=error.failure(), traceback=traceback.format_exc()))
            return None
        return Loaded(start=start, runtime=shared.loaded.runtime, completed=shared.loaded.completed)

    return worker_main(start, control, loading=take)


def require_no_threads() -> None:
    """Refuse a model that has started threads, which its instances would not have.

    Raises
    ------
    LoadError
        It has some. Those of OpenMP are ended; libraries that end theirs before a fork, as
        OpenBLAS does, are told by one.
    """
    names = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if names:
        raise LoadError(f"{_UNFIT}: it has started threads while loading ({', '.join(names)})")
    end_pools()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    if names := _lasting_threads():
        raise LoadError(
            f"{_UNFIT}: a library of it has started {len(names)} threads while loading"
            f" ({', '.join(names)}), which a fork does not have; compute in execute only, or let"
            " the library use one thread"
        )


def _lasting_threads() -> list[str]:
    """Return the names of threads beside the main one, once those that were ended are gone."""
    deadline = time.monotonic() + _ENDING_S
    while (names := _other_threads()) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return names


def _other_threads() -> list[str]:
    names: list[str] = []
    for task in _TASKS.iterdir():
        if int(task.name) != os.getpid():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                names.append((task / "comm").read_text().strip())
    return names


def open_descriptors() -> set[tuple[int, str]]:
    """Return the descriptors of this process, each with what it is."""
    found: set[tuple[int, str]] = set()
    for entry in _DESCRIPTORS.iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add((int(entry.name), str(entry.readlink())))
    return {one for one in found if not one[1].startswith("/proc/")}


def look_at_descriptors(opened: set[tuple[int, str]], *, model: str) -> None:
    """Refuse connections that the load has left open; warn of files, whose position is shared.

    Raises
    ------
    LoadError
        Sockets, pipes or event loops are open.
    """
    targets = sorted(target for _, target in opened)
    unfit = [one for one in targets if one.startswith(_SHARED_STATE)]
    if unfit:
        raise LoadError(
            f"{_UNFIT}: it has left open {', '.join(unfit)} while loading; connect in execute"
        )
    if targets:
        log.warning("weights.doubted", model=model, reason=f"open files: {', '.join(targets)}")
