"""The way into the command: servers start without click, which serves all other words."""

import gc
import sys
from typing import Final

SERVERS: Final = ("serve", "start")


def main() -> None:
    """Be the command `mpserve`."""
    words = sys.argv[1:]
    if not words or words[0] not in SERVERS:
        from mpserve.cli.main import main as group  # noqa: PLC0415  # click, and it costs time

        group()
        return
    gc.disable()  # until all is imported (`supervisor.main`): nothing of that is garbage
    from mpserve.cli import server_start  # noqa: PLC0415  # after the line above

    server_start.SERVERS[words[0]].run(words[1:])
