"""`mpserve serve`: Triton's command line."""

from typing import Final

from mpserve.cli.server_command import ServerCommand
from mpserve.dialect import DialectName
from mpserve.settings.reading import SERVE_FLAGS, read_serve

serve: Final = ServerCommand(
    name="serve", command=DialectName.TRITON, flags=SERVE_FLAGS, read=read_serve
)
