"""Entry of a worker that was executed instead of forked; see `program`."""

import os
import socket
import sys

import msgspec

import mpserve
from mpserve.supervisor.entry import run_entry_point
from mpserve.supervisor.entrypoints import EntryPoint
from mpserve.supervisor.process_title import set_process_title
from mpserve.supervisor.program import Execution


def main(start_fd: int) -> int:
    """Be the program that the inherited file describes; return the exit code."""
    with os.fdopen(start_fd, "rb") as file:
        file.seek(0)
        execution = msgspec.msgpack.decode(file.read(), type=Execution)
    if execution.version != mpserve.__version__:
        sys.stderr.write(
            f"the environment has mpserve {mpserve.__version__} at {mpserve.__file__}, the server "
            f"is {execution.version}: install the same, or none\n"
        )
        return os.EX_CONFIG
    set_process_title(execution.title)
    return run_entry_point(
        EntryPoint(target=execution.target, start=execution.start_type),
        execution.start,
        socket.socket(fileno=execution.control_fd),
    )
