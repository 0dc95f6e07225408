"""What the spawner can start, by role.

Names, not imports: the supervisor, the frontends and the workers are three programs.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One program.

    Attributes
    ----------
    target
        `module:function`, called as `function(start_bytes, control_socket) -> exit code`, where
        `start_bytes` is the start Struct of `control.messages` named by `start`.
    start
        `WorkerStart` or `FrontendStart`.
    preload
        Modules that the spawner imports once, so that no child pays for them.
    """

    target: str
    start: str
    preload: tuple[str, ...] = ()


EntryPoints: TypeAlias = Mapping[str, EntryPoint]

WORKER: Final = "worker"
FRONTEND: Final = "frontend"

ENTRY_POINTS: Final[EntryPoints] = {
    FRONTEND: EntryPoint(
        target="mpserve.frontend.main:main",
        start="FrontendStart",
        preload=("uvloop", "orjson", "mpserve.frontend.main"),
    ),
    WORKER: EntryPoint(
        target="mpserve.worker.main:main",
        start="WorkerStart",
        preload=("numpy", "mpserve.worker.main", "mpserve.worker.preload"),
    ),
}
"""In the order in which the spawner preloads them."""
