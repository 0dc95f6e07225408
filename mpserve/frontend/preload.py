"""What the spawner does once so that no frontend pays for it.

Importing this module is all there is to do.
"""

import msgspec

from mpserve.control.messages import FrontendStart, ToFrontend
from mpserve.frontend import main
from mpserve.settings import Settings

__all__ = ["main"]

# What decoders find out of a type stays with the type.
for _type in (FrontendStart, ToFrontend, Settings):
    msgspec.msgpack.Decoder(_type)
