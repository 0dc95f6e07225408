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
    preload_later
        Modules that some children need, or the one that stands by: imported after the others, and
        no child that is asked for waits for them.
    template, instance
        Of a program that can be loaded once for several processes: `load(start)`, and
        `main(loaded, start, control_socket) -> exit code` in a fork of where that was called.
    standby
        Of a program whose process may be forked ahead of need: `begin()`, which returns what is
        called in place of `target` then. One row at most has it.
    """

    target: str
    start: str
    preload: tuple[str, ...] = ()
    preload_later: tuple[str, ...] = ()
    template: str = ""
    instance: str = ""
    standby: str = ""


EntryPoints: TypeAlias = Mapping[str, EntryPoint]

WORKER: Final = "worker"
FRONTEND: Final = "frontend"

ENTRY_POINTS: Final[EntryPoints] = {
    FRONTEND: EntryPoint(
        target="mpserve.frontend.main:main",
        start="FrontendStart",
        preload=("uvloop", "orjson", "mpserve.frontend.main", "mpserve.frontend.preload"),
    ),
    WORKER: EntryPoint(
        target="mpserve.worker.main:main",
        start="WorkerStart",
        preload=("numpy", "mpserve.worker.main", "mpserve.worker.preload"),
        preload_later=("mpserve.worker.standby", "importlib.metadata"),
        template="mpserve.worker.shared_weights:load_shared",
        instance="mpserve.worker.shared_weights:main",
        standby="mpserve.worker.standby:begin",
    ),
}
"""In the order in which the spawner preloads them."""

RUNTIME_PRELOAD: Final[Mapping[str, tuple[str, ...]]] = {
    "mlserver": ("mpserve.runtimes.mlserver_model",),
}
"""Runtime -> what the spawner imports before it forks the first worker that has it.

Each worker imported it in 18 ms, most of its load. Only what is ours: a library might start threads
or keep state that a fork may not share. `python` is in the table above.
"""

GRPC_PRELOAD: Final = "mpserve.frontend.grpc.preload"


def with_grpc(entry_points: EntryPoints) -> EntryPoints:
    """Return the table of a server that serves gRPC, too.

    Frontends would import it when they start; preloaded, it costs the server 60 ms once, and a
    frontend that is started later needs no file that an upgrade may have replaced.
    """
    frontend = entry_points.get(FRONTEND)
    if frontend is None:
        return entry_points
    more = msgspec.structs.replace(frontend, preload=(*frontend.preload, GRPC_PRELOAD))
    return {**entry_points, FRONTEND: more}


def without_standby(entry_points: EntryPoints) -> EntryPoints:
    """Return the table of a server whose workers are no plain forks: none waits for its birth."""
    return {role: msgspec.structs.replace(row, standby="") for role, row in entry_points.items()}
