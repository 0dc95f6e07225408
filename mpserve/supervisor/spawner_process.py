"""How a spawner becomes a process: forked, or executed as a program.

The supervisor forks the first one before it imports anything heavy. When that one died, the
supervisor has an event loop and threads by then, so the next is executed:
`python -m mpserve.supervisor.spawner_process`.
"""

import gc
import os
import socket
import sys
from collections.abc import Callable, Sequence

import msgspec

from mpserve.control.patience import be_patient
from mpserve.supervisor.descriptors import close_all_but
from mpserve.supervisor.entry import run_entry_point
from mpserve.supervisor.last_words import flush_streams, say_traceback
from mpserve.supervisor.process_title import set_process_title
from mpserve.supervisor.spawner import EXIT_CRASHED, Spawner, SpawnerArguments


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
        say_traceback()
    finally:
        flush_streams()
        os._exit(exit_code)


def execute_spawner(arguments: SpawnerArguments) -> int:
    """Start a spawner as a new program, from a process that may have threads; return its pid."""
    command = [sys.executable, "-m", "mpserve.supervisor.spawner_process"]
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
    be_patient()
    control = socket.socket(fileno=arguments.control_fd)
    control.settimeout(None)
    return Spawner(control, arguments, run=run_entry_point).run()


def main(argv: Sequence[str]) -> int:
    """Run as a program: the one argument is `SpawnerArguments` as JSON."""
    return spawner_main(msgspec.json.decode(argv[1], type=SpawnerArguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
