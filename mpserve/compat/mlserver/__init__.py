"""A compatible `mlserver`, for models that import it where the real one is not installed.

`alias` makes `import mlserver` find it. Names and behaviour follow MLServer 1.7.1 as its
documentation describes it and as the installed package answers; see `docs/runtimes.md` for what
differs.
"""

from mpserve.compat.mlserver.metrics import log, register
from mpserve.compat.mlserver.model import MLModel
from mpserve.compat.mlserver.server_parts import MLServer
from mpserve.compat.mlserver.settings import ModelSettings, Settings
from mpserve.compat.mlserver.version import __version__

__all__ = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__", "log", "register"]
