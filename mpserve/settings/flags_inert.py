"""Rows of Triton's flags that change nothing in mpserve, so that its command lines are understood.

`NO_EFFECT`: mpserve works another way, the value can not matter. `REFUSED`: the feature is not
there, so only its off value is taken, and the operator hears why instead of missing it in
production.
"""

from typing import Final

from mpserve.settings import formats
from mpserve.settings.flags import Flag, Group, Kind, Standing
from mpserve.settings.flags_grpc import GRPC_INERT
from mpserve.settings.flags_metrics import METRICS_INERT
from mpserve.settings.values import BadValue

_OWN_PROCESSES: Final = "requests are carried by processes and shared memory, see --frontends"
_NO_GPU: Final = "mpserve keeps tensors in host memory"
_NO_CACHE: Final = "there is no response cache yet"
_NO_DIRECTORY: Final = "mpserve finds runtimes by Python entry points, not in a directory"


def _no_effect(reason: str) -> str:
    return f"Changes nothing: {reason}."


def _inert(
    name: str,
    kind: Kind,
    group: Group,
    *,
    reason: str,
    default: str | int | float | bool = "",
    repeatable: bool = False,
) -> Flag:
    """Return the row of a flag without effect that has no bounds or form of its own."""
    return Flag(
        name=name,
        kind=kind,
        group=group,
        default=default,
        repeatable=repeatable,
        standing=Standing.NO_EFFECT,
        reason=reason,
        help=_no_effect(reason),
    )


def _refused(
    name: str,
    kind: Kind,
    group: Group,
    *,
    reason: str,
    default: str | int | float | bool = "",
    repeatable: bool = False,
) -> Flag:
    """Return the row of a switched-off feature whose values have no form of their own."""
    return Flag(
        name=name,
        kind=kind,
        group=group,
        default=default,
        repeatable=repeatable,
        standing=Standing.REFUSED,
        reason=f"--{name}: {reason}",
        help=f"Only its default is taken: {reason}.",
    )


def _is_empty(texts: tuple[str, ...]) -> bool:
    return not any(texts)


def _refuse_empty_directory(texts: tuple[str, ...]) -> None:
    if not all(texts):
        raise BadValue("--repoagent-directory can not be empty")


_HTTP: Final = (
    _inert("http-thread-count", Kind.INT, Group.HTTP, default=8, reason=_OWN_PROCESSES),
)

_CACHE: Final = (
    Flag(
        name="cache-config",
        kind=Kind.STRING,
        group=Group.CACHE,
        repeatable=True,
        check=formats.check_cache_config,
        standing=Standing.REFUSED,
        is_off=_is_empty,
        reason=f"--cache-config: {_NO_CACHE}",
        help="Refused: there is no response cache yet.",
    ),
    _inert("cache-directory", Kind.STRING, Group.CACHE, reason=_NO_CACHE),
    _refused("response-cache-byte-size", Kind.INT64, Group.CACHE, default=0, reason=_NO_CACHE),
)

_SHARED_MEMORY: Final = (
    _inert(
        "buffer-manager-thread-count", Kind.INT, Group.PROCESSES, default=0, reason=_OWN_PROCESSES
    ),
    _inert(
        "pinned-memory-pool-byte-size",
        Kind.INT64,
        Group.PROCESSES,
        default=268_435_456,
        reason=_NO_GPU,
    ),
)

_REPOSITORY: Final = (
    _refused(
        "model-namespacing",
        Kind.BOOL,
        Group.REPOSITORY,
        default=False,
        reason="a model's name must be unique over all repositories",
    ),
    Flag(
        name="repoagent-directory",
        kind=Kind.STRING,
        group=Group.REPOSITORY,
        default="/opt/tritonserver/repoagents",
        check=_refuse_empty_directory,
        standing=Standing.NO_EFFECT,
        reason="mpserve has no repository agents",
        help=_no_effect("mpserve has no repository agents"),
    ),
)

_BACKENDS: Final = (
    _inert(
        "backend-directory",
        Kind.STRING,
        Group.BACKENDS,
        default="/opt/tritonserver/backends",
        reason=_NO_DIRECTORY,
    ),
    Flag(
        name="backend-config",
        kind=Kind.STRING,
        group=Group.BACKENDS,
        repeatable=True,
        check=formats.check_backend_config,
        standing=Standing.NO_EFFECT,
        reason="runtimes take no settings from the command line",
        help=_no_effect("runtimes take no settings from the command line"),
    ),
    _inert("enable-peer-access", Kind.BOOL, Group.BACKENDS, default=True, reason=_NO_GPU),
    _inert(
        "min-supported-compute-capability", Kind.FLOAT, Group.BACKENDS, default=0.0, reason=_NO_GPU
    ),
    *(
        Flag(
            name=name,
            kind=Kind.STRING,
            group=Group.BACKENDS,
            repeatable=True,
            check=formats.check_pair,
            standing=Standing.NO_EFFECT,
            reason=_NO_GPU,
            help=_no_effect(_NO_GPU),
        )
        for name in (
            "cuda-memory-pool-byte-size",
            "cuda-virtual-address-size",
            "model-load-gpu-limit",
        )
    ),
)

_NO_CLOUD: Final = "mpserve has no adaptor for this cloud service"
_CLOUD: Final = (
    _refused("allow-sagemaker", Kind.BOOL, Group.CLOUD, default=False, reason=_NO_CLOUD),
    _inert("sagemaker-port", Kind.INT, Group.CLOUD, default=8080, reason=_NO_CLOUD),
    _inert("sagemaker-safe-port-range", Kind.STRING, Group.CLOUD, reason=_NO_CLOUD),
    _inert("sagemaker-thread-count", Kind.INT, Group.CLOUD, default=8, reason=_NO_CLOUD),
    _refused("allow-vertex-ai", Kind.BOOL, Group.CLOUD, default=False, reason=_NO_CLOUD),
    _inert("vertex-ai-port", Kind.INT, Group.CLOUD, default=8080, reason=_NO_CLOUD),
    _inert("vertex-ai-thread-count", Kind.INT, Group.CLOUD, default=8, reason=_NO_CLOUD),
    _inert("vertex-ai-default-model", Kind.STRING, Group.CLOUD, reason=_NO_CLOUD),
)

INERT: Final = (
    *_REPOSITORY,
    *_SHARED_MEMORY,
    *_HTTP,
    *GRPC_INERT,
    *METRICS_INERT,
    *_CACHE,
    *_BACKENDS,
    *_CLOUD,
)
