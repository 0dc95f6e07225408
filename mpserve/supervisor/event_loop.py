"""The event loop of the supervisor and the life of what is made inside it."""

import asyncio
import socket
import time

import uvloop

from mpserve.settings import Settings
from mpserve.shm.server_id import ServerIdentity
from mpserve.supervisor.entrypoints import EntryPoints
from mpserve.supervisor.server import Server
from mpserve.supervisor.shared_places import kept_descriptors, server_memory
from mpserve.supervisor.spawner_link import SpawnerLink


def run_server(
    settings: Settings,
    *,
    identity: ServerIdentity,
    wake_fds: tuple[int, ...],
    http_fd: int,
    spawner_pid: int,
    spawner_socket: socket.socket,
    entry_points: EntryPoints,
) -> int:
    """Run the server in an event loop of its own; return the exit code."""

    async def serve() -> int:
        link = SpawnerLink(
            pid=spawner_pid,
            connected=spawner_socket,
            kept_fds=kept_descriptors(identity, wake_fds, http_fd),
            entry_points=entry_points,
            now_ns=time.monotonic_ns,
        )
        with server_memory(identity, wake_fds, settings, http_fd=http_fd) as memory:
            async with asyncio.TaskGroup() as tasks:
                server = Server(settings=settings, link=link, memory=memory, tasks=tasks)
                return await server.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve())
