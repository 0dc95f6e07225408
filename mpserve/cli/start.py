"""`mpserve start FOLDER`: MLServer's command line."""

from typing import Final

from mpserve.cli.server_command import ServerCommand
from mpserve.cli.server_start import SERVERS

start: Final = ServerCommand(name="start", start=SERVERS["start"])
