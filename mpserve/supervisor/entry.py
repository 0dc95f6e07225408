"""How a process becomes one of the programs of the table of entry points."""

import importlib
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from mpserve.control import messages
from mpserve.supervisor.entrypoints import EntryPoint

Run: TypeAlias = Callable[[EntryPoint, bytes, socket.socket], int]


def run_entry_point(entry_point: EntryPoint, start: bytes, control: socket.socket) -> int:
    """Call the program of `entry_point` in this process; return its exit code."""
    return int(named(entry_point.target)(decoded(entry_point, start), control))


def run_begun(entry_point: EntryPoint) -> Run:
    """Let the program do what it can ahead of need; return what is called when it is needed."""
    begun = named(entry_point.standby)()

    def run(row: EntryPoint, start: bytes, control: socket.socket) -> int:
        return int(begun(decoded(row, start), control))

    return run


def named(target: str) -> Any:  # noqa: ANN401  # a function of the table of entry points
    """Return what the table names `module:function`."""
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)


def decoded(entry_point: EntryPoint, start: bytes) -> object:
    """Return the start Struct of a program."""
    return msgspec.msgpack.decode(start, type=getattr(messages, entry_point.start))
