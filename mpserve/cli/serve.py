"""`mpserve serve`: Triton's command line."""

from typing import Final

from mpserve.cli.server_command import ServerCommand
from mpserve.cli.server_start import SERVERS

serve: Final = ServerCommand(name="serve", start=SERVERS["serve"])
