"""Servers that run on this machine, as the command line sees and asks them."""

import os
import signal

from mpserve.shm.server_note import ServerNote, living_notes

__all__ = ["ServerNote", "ask_to_reload", "living_notes"]


def ask_to_reload(note: ServerNote) -> None:
    """Let a server read its settings again; its next note tells what came of it.

    Raises
    ------
    ProcessLookupError
        It has ended.
    PermissionError
        It is another user's.
    """
    os.kill(note.pid, signal.SIGHUP)
