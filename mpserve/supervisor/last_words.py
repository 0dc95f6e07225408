"""What a process says on its standard error when it can not go on.

Guarantees: nothing is raised when nobody can read it, and nothing is left to be written at the end
of the program, which would spoil its exit code.
"""

import contextlib
import sys
import traceback

from mpserve.telemetry.outlet import STANDARD_ERROR


def say(line: str) -> None:
    """Write a line, as far as somebody takes it."""
    # Not by `sys.stderr`, which keeps what it could not write.
    STANDARD_ERROR.write(f"{line}\n".encode(errors="replace"))


def say_traceback() -> None:
    """Write the exception that is being handled, with its traceback."""
    say(traceback.format_exc().rstrip("\n"))


def flush_streams() -> None:
    """Write what was printed, before a process ends without Python's own end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
