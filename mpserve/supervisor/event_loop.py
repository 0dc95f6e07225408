"""The event loop of the supervisor and the life of what is made inside it."""

import asyncio
import socket
import time
from typing import Final

import uvloop

from mpserve.errors import ArenaFull
from mpserve.settings import Settings
from mpserve.shm.sweep import sweep_server
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.entrypoints import EntryPoints
from mpserve.supervisor.inheritance import FirstSpawner, Inheritance
from mpserve.supervisor.last_words import say
from mpserve.supervisor.processes import CHILD_PREFIX, ChildRecord
from mpserve.supervisor.root_link import RootLink
from mpserve.supervisor.server import Server
from mpserve.supervisor.settings_reload import Reread, present_settings
from mpserve.supervisor.shared_places import ServerMemory, Taken, server_memory
from mpserve.supervisor.spawner_link import SpawnerLink

EXIT_FAILED: Final = 1


def run_server(
    first: Settings,
    *,
    reread: Reread,
    inheritance: Inheritance,
    root: socket.socket,
    spawner: FirstSpawner,
    entry_points: EntryPoints,
) -> int:
    """Run the server in an event loop of its own; return the exit code, which the root was told.

    Parameters
    ----------
    first
        Settings that the server was started with.
    """
    checkpoint = Checkpoint(inheritance.state_files)
    settings = present_settings(first, checkpoint)

    async def serve() -> int:
        link = RootLink(root, inheritance.door)
        try:
            memory = _memory(inheritance, settings, checkpoint)
        except ArenaFull as error:  # no room for what every server needs
            say(f"error: creating server: Internal - {error.message}")
            link.ended(EXIT_FAILED)
            return EXIT_FAILED
        async with asyncio.TaskGroup() as tasks:
            server = Server(
                settings=settings,
                root=link,
                link=SpawnerLink(
                    first=spawner,
                    kept_fds=inheritance.kept_fds(),
                    door_fd=inheritance.door_fd,
                    entry_points=entry_points,
                    checkpoint=checkpoint,
                    now_ns=time.monotonic_ns,
                ),
                memory=memory,
                checkpoint=checkpoint,
                tasks=tasks,
                reread=reread,
            )
            code = await server.run()
        if link.is_orphan:  # else the root does it
            sweep_server(inheritance.identity.server_id)
        link.ended(code)
        return code

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve())


def _memory(inheritance: Inheritance, settings: Settings, checkpoint: Checkpoint) -> ServerMemory:
    if checkpoint.is_empty():
        return server_memory(inheritance, settings, taken=None)
    records = tuple(checkpoint.read_all(CHILD_PREFIX, ChildRecord).values())
    callers = [record.caller for record in records if record.caller is not None]
    taken = Taken(
        indices=frozenset(
            process.index
            for process in (
                *(record.process for record in records),
                *(caller.process for caller in callers),
            )
        ),
        rings=frozenset(caller.ring_index for caller in callers),
    )
    return server_memory(inheritance, settings, taken=taken)
