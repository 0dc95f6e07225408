"""`mpserve reload`: let a server on this machine read its settings again."""

import sys
import time
from typing import Final, NoReturn

import click

from mpserve.supervisor.running import ServerNote, ask_to_reload, living_notes

LOOK_SECONDS: Final = 0.02
EXIT_FAILED: Final = 1


@click.command()
@click.option(
    "--pid",
    type=click.IntRange(min=1),
    help="The server, where several run on this machine: the process that was started.",
)
@click.option(
    "--timeout",
    "timeout_secs",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="Seconds to wait for what comes of it.",
)
def reload(pid: int | None, timeout_secs: float) -> None:
    """Let a server read its settings, certificates and the log's file again.

    Tells what changed. The exit code is 1 when something can not be taken, and it is said why;
    unless it is a file that can not be used any more, nothing changes then.
    """
    before = _chosen(pid)
    try:
        ask_to_reload(before)
    except ProcessLookupError:
        _fail(f"server {before.pid} has just ended")
    except PermissionError:
        _fail(f"server {before.pid} is another user's")
    note = _answer(before, timeout_secs)
    for name in note.changed:
        click.echo(f"{name}: changed")
    if note.fault:
        _fail(note.fault)
    if not note.changed:
        click.echo("nothing changed")


def _chosen(pid: int | None) -> ServerNote:
    notes = living_notes()
    found = [note for note in notes if pid in {None, note.pid}]
    pids = ", ".join(str(note.pid) for note in notes) or "none"
    if len(found) > 1:
        _fail(f"several servers run here, say --pid of one: {pids}")
    if not found:
        _fail(f"there is no server of this user here{'' if pid is None else f' with pid {pid}'}")
    return found[0]


def _answer(before: ServerNote, timeout_secs: float) -> ServerNote:
    """Return what the server tells once it has read its settings."""
    deadline = time.monotonic() + timeout_secs
    note = before
    while note.readings == before.readings:
        if time.monotonic() > deadline:
            _fail(f"server {before.pid} did not answer in {timeout_secs:g} s; its log may say why")
        time.sleep(LOOK_SECONDS)
        found = [one for one in living_notes() if one.pid == before.pid]
        if not found:
            _fail(f"server {before.pid} has just ended")
        note = found[0]
    return note


def _fail(reason: str) -> NoReturn:
    click.echo(f"mpserve reload: {reason}", err=True)
    sys.exit(EXIT_FAILED)
