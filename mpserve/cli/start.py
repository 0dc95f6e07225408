"""`mpserve start FOLDER`: MLServer's command line."""

from typing import Final

from mpserve.cli.server_command import ServerCommand
from mpserve.dialect import DialectName
from mpserve.settings.reading import START_FLAGS, read_start

start: Final = ServerCommand(
    name="start", command=DialectName.MLSERVER, flags=START_FLAGS, read=read_start
)
