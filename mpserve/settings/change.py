"""What differs between two readings of the settings, and which of it a running server may take.

Guarantees: what is not listed in `CHANGEABLE` may not change. All or nothing: a difference that
names one setting which may not change is taken in no part.
"""

from typing import Final

import msgspec

from mpserve.settings.flags_acting import ACTING
from mpserve.settings.http_settings import Restriction
from mpserve.settings.settings import Settings

CHANGEABLE: Final = frozenset(
    {
        "repository_poll_secs",
        "strict_readiness",
        "model_load_thread_count",
        "model_load_retry_count",
        "model_load_timeout_secs",
        "model_drain_timeout_secs",
        "exit_timeout_secs",
        "clients.max_connections",
        "clients.receive_secs",
        "clients.send_secs",
        "clients.idle_secs",
        "http.restrictions",
        "http.server_cert",
        "http.server_key",
        "http.root_cert",
        "grpc.restrictions",
        "grpc.server_cert",
        "grpc.server_key",
        "grpc.root_cert",
        "log.info",
        "log.warning",
        "log.error",
        "log.verbose_level",
        "log.log_format",
        "trace",
    }
)
"""Fields of `Settings`; of restrictions the keys and values only, not what is restricted."""

_RESTRICTIONS: Final = ("http.restrictions", "grpc.restrictions")
_GROUPS: Final = ("http", "grpc", "clients", "log")
_WORDS: Final = {
    "http.restrictions": "--http-restricted-api",
    "grpc.restrictions": "--grpc-restricted-protocol",
    "trace": "--trace-config",
    "span_export": "--trace-config",
    "worker_user": "--worker-user",
    "http.cors": "cors_settings",
    "http.root_path": "root_path",
    "http.compresses": "gzip_enabled",
    "logging": "logging_settings",
    "metrics_counter_latencies": "--metrics-config",
    "model_environment": "MLSERVER_MODEL_*",
}
"""How the operator says what is made from several flags; MLServer's own fields have their name."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Names of settings, as the operator says them, sorted.

    Attributes
    ----------
    changed
        May be taken while the server runs.
    refused
        Need a new server.
    """

    changed: tuple[str, ...]
    refused: tuple[str, ...]


def difference(present: Settings, wanted: Settings) -> Difference:
    """Return what `wanted` says otherwise than `present`."""
    changed: set[str] = set()
    refused: set[str] = set()
    before, after = _flattened(present), _flattened(wanted)
    for field, value in after.items():
        if value != before[field]:
            (changed if _may_change(field, before[field], value) else refused).add(_word(field))
    return Difference(changed=tuple(sorted(changed)), refused=tuple(sorted(refused)))


def _may_change(field: str, before: object, after: object) -> bool:
    if field in _RESTRICTIONS:
        return _categories(before) == _categories(after)
    return field in CHANGEABLE


def _categories(restrictions: object) -> set[object]:
    rows = msgspec.convert(restrictions, tuple[Restriction, ...])
    return {row.category for row in rows}


def _flattened(settings: Settings) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if name in _GROUPS:
            group = msgspec.structs.asdict(value)
            fields |= {f"{name}.{part}": inner for part, inner in group.items()}
        else:
            fields[name] = value
    return fields


def _word(field: str) -> str:
    if field in _WORDS:
        return _WORDS[field]
    spellings = {field, field.replace("grpc.", "grpc_", 1)}
    return next((f"--{flag.name}" for flag in ACTING if flag.field in spellings), field)
