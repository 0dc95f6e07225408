"""Values of flags put together into `Settings`: pure, one rule for each setting that is not 1:1."""

import os.path
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mpserve.dialect import DialectName
from mpserve.settings.environment import Chosen, MLServerChoice
from mpserve.settings.flags import Flag, Value
from mpserve.settings.formats import sorted_unique
from mpserve.settings.http_settings import read_restrictions
from mpserve.settings.metrics_config import read_latencies
from mpserve.settings.settings import ModelControlMode, Settings
from mpserve.settings.trace_config import read_tracing
from mpserve.settings.unix_address import unix_path
from mpserve.settings.worker_user import read_worker_user

ALL_MODELS: Final = ("*",)
_GRPC_PREFIX: Final = "grpc_"
_HTTP_PREFIX: Final = "http."
_CLIENTS_PREFIX: Final = "clients."
_LOG_PREFIX: Final = "log."
LOOPBACK: Final = "127.0.0.1"
TRITON_EXTENSIONS: Final = (
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""As Triton's server metadata lists them, in its order; clients compare the list literally."""


def assemble(
    command: DialectName,
    chosen: Chosen,
    *,
    flags: Sequence[Flag],
    mlserver: MLServerChoice,
    version: str,
) -> Settings:
    """Return the settings of `command` with everything that was chosen, not yet checked.

    Parameters
    ----------
    command
        `TRITON` for `mpserve serve`, `MLSERVER` for `mpserve start`: whose defaults hold.
    chosen
        Values by flag name, precedence already settled.
    mlserver
        MLServer's settings that have no flag.
    version
        Of mpserve, which the metadata tells unless MLServer's settings say another.
    """
    values = {flag.name: _values_of(flag, chosen, command) for flag in flags}
    fields: dict[str, Any] = {
        flag.field: values[flag.name] if flag.repeatable else values[flag.name][-1]
        for flag in flags
        if flag.field
    }
    mode = ModelControlMode(fields["model_control_mode"])
    fields |= _repository(fields, values, mode=mode)
    fields |= _metrics(fields, values)
    fields["grpc"] = _grpc(command, fields, values, chosen=chosen)
    fields["http"] = _http(fields, values, mlserver)
    fields["clients"] = _taken(fields, _CLIENTS_PREFIX)
    fields["log"] = _taken(fields, _LOG_PREFIX)
    fields |= read_tracing(values, chosen)
    if mlserver.metrics_http_prefix is not None:
        fields["metrics_http_prefix"] = mlserver.metrics_http_prefix
    if _loads_everything(command, mode, chosen, mlserver):
        fields["load_models"] = ALL_MODELS
    fields |= {
        "exit_timeout_secs": max(fields["exit_timeout_secs"], 0),
        "model_load_thread_count": max(fields["model_load_thread_count"], 1),
        "worker_user": read_worker_user(str(values["worker-user"][-1])),
        "server_version": mlserver.server_version or version,
        "extensions": _extensions(command, mlserver),
        "parallel_workers": mlserver.parallel_workers,
        "logging": mlserver.logging,
    }
    return msgspec.convert(fields, Settings)


def _values_of(flag: Flag, chosen: Chosen, command: DialectName) -> tuple[Value, ...]:
    if flag.name in chosen:
        return chosen[flag.name]
    return () if flag.repeatable else (flag.default_of(command),)


def _repository(
    fields: Mapping[str, Any],
    values: Mapping[str, tuple[Value, ...]],
    *,
    mode: ModelControlMode,
) -> dict[str, object]:
    # Not `resolve`: a root that is a symbolic link may be pointed elsewhere while we run.
    roots = tuple(os.path.abspath(path) for path in fields["model_repositories"])  # noqa: PTH100
    poll_secs = fields["repository_poll_secs"] if mode is ModelControlMode.POLL else 0
    strict = fields["disable_auto_complete_config"] or values["strict-model-config"][-1]
    return {
        "model_repositories": sorted_unique(roots),
        "load_models": sorted_unique(fields["load_models"]),
        "repository_poll_secs": max(poll_secs, 0),
        "disable_auto_complete_config": bool(strict),
    }


def _metrics(
    fields: Mapping[str, Any], values: Mapping[str, tuple[Value, ...]]
) -> dict[str, object]:
    return {
        "metrics_address": fields["metrics_address"] or _internet_address(fields),
        **read_latencies(values["metrics-config"]),
    }


def _grpc(
    command: DialectName,
    fields: dict[str, Any],
    values: Mapping[str, tuple[Value, ...]],
    *,
    chosen: Chosen,
) -> dict[str, object]:
    """Take the fields of gRPC together.

    TLS is on once mutual TLS was mentioned, as in Triton; MLServer has one host for all listeners.
    """
    grpc = _taken(fields, _GRPC_PREFIX)
    if command is DialectName.MLSERVER and "grpc-address" not in chosen:
        grpc["address"] = _internet_address(fields)
    restricted = [str(text) for text in values["grpc-restricted-protocol"] if text]
    return {
        **grpc,
        "restrictions": read_restrictions(restricted),
        "use_ssl": grpc["use_ssl"] or "grpc-use-ssl-mutual" in chosen,
    }


def _internet_address(fields: Mapping[str, Any]) -> str:
    """Return where the other listeners are by default: with HTTP, local when that is a file."""
    address = str(fields["http_address"])
    return LOOPBACK if unix_path(address) is not None else address


def _http(
    fields: dict[str, Any],
    values: Mapping[str, tuple[Value, ...]],
    mlserver: MLServerChoice,
) -> dict[str, object]:
    """Take the fields of HTTP together that are not its listener's."""
    http = _taken(fields, _HTTP_PREFIX)
    restricted = [str(text) for text in values["http-restricted-api"] if text]
    return {
        **http,
        "restrictions": read_restrictions(restricted),
        "use_ssl": http["use_ssl"] or http["use_ssl_mutual"],
        "cors": mlserver.cors,
        "root_path": mlserver.root_path,
        "compresses": mlserver.compresses,
    }


def _taken(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the fields out that have a prefix; without it."""
    names = [name for name in fields if name.startswith(prefix)]
    return {name.removeprefix(prefix): fields.pop(name) for name in names}


def _loads_everything(
    command: DialectName, mode: ModelControlMode, chosen: Chosen, mlserver: MLServerChoice
) -> bool:
    """MLServer loads all models at the start and lets clients change that afterwards."""
    return (
        command is DialectName.MLSERVER
        and mode is ModelControlMode.EXPLICIT
        and "load-model" not in chosen
        and mlserver.load_models_at_startup
    )


def _extensions(command: DialectName, mlserver: MLServerChoice) -> tuple[str, ...]:
    if mlserver.extensions is not None:
        return mlserver.extensions
    return TRITON_EXTENSIONS if command is DialectName.TRITON else ()
