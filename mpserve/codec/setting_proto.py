"""Messages of the trace and logging extensions <-> changes and settings.

The names are those of the JSON bodies, and so is what is refused. Source: triton.md 4.5. Messages
are `Any`: protobuf makes their fields at run time.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from mpserve.codec.setting_json import (
    LOG_FILE_FIXED,
    LOG_FORMATS,
    TRACE_FILE_FIXED,
    read_trace_members,
    trace_members,
    verbose_level,
)
from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.log_switches import LogChange, LogSwitches
from mpserve.model.trace_setting import ToldTrace, TraceChange


def _log_format(word: str) -> str:
    if word not in LOG_FORMATS:
        raise InvalidRequest(f"invalid argument for log_format, got: {word}")
    return word


class _LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of the log.

    Attributes
    ----------
    field
        Of `LogSwitches` and `LogChange`.
    choice
        Member of the message's `oneof` that carries it.
    kind
        The peer's word for it.
    read
        Checks the value.
    """

    field: str
    choice: str
    kind: str
    read: Callable[[Any], Any]


_LOG_FILE: Final = "log_file"
_LOG_ROWS: Final[Mapping[str, _LogRow]] = {
    "log_info": _LogRow(field="info", choice="bool_param", kind="boolean", read=bool),
    "log_warning": _LogRow(field="warning", choice="bool_param", kind="boolean", read=bool),
    "log_error": _LogRow(field="error", choice="bool_param", kind="boolean", read=bool),
    "log_verbose_level": _LogRow(
        field="verbose_level", choice="uint32_param", kind="int32", read=verbose_level
    ),
    "log_format": _LogRow(
        field="log_format", choice="string_param", kind="string", read=_log_format
    ),
}


def read_log_change(settings: Any) -> LogChange:  # noqa: ANN401  a message's map
    """Read a change of the log; settings that are not known are not looked at.

    Raises
    ------
    InvalidRequest
        A value of another type, or a format that there is not.
    Unsupported
        The file can not be changed.
    """
    if _LOG_FILE in settings:
        raise Unsupported(LOG_FILE_FIXED)
    found: dict[str, object] = {}
    for name, row in _LOG_ROWS.items():
        if name not in settings:
            continue
        value = settings[name]
        choice = value.WhichOneof("parameter_choice")
        if choice != row.choice:
            raise InvalidRequest(f"expect {row.kind} for '{name}'")
        found[row.field] = row.read(getattr(value, choice))
    return msgspec.convert(found, LogChange)


def fill_log(told: Any, switches: LogSwitches) -> None:  # noqa: ANN401  a message's map
    """Write what the log writes."""
    told[_LOG_FILE].string_param = switches.log_file
    for name, row in _LOG_ROWS.items():
        setattr(told[name], row.choice, getattr(switches, row.field))


def read_trace_change(settings: Any) -> TraceChange:  # noqa: ANN401  a message's map
    """Read a change of a trace setting; a setting without values goes back to what holds below it.

    Raises
    ------
    Unsupported
        The file can not be changed.
    InvalidRequest
        A number or a level can not be read, or there are several of what there is one of.
    """
    if "trace_file" in settings:
        raise Unsupported(TRACE_FILE_FIXED)
    members: dict[str, Any] = {}
    for name, value in settings.items():
        words = list(value.value)
        if not words:
            members[name] = None
        elif name == "trace_level":
            members[name] = words
        elif len(words) == 1:
            members[name] = words[0]
        else:
            raise InvalidRequest(f"expect only 1 value for '{name}'")
    return read_trace_members(members)


def fill_trace(settings: Any, told: ToldTrace) -> None:  # noqa: ANN401  a message's map
    """Write a trace setting."""
    for name, value in trace_members(told).items():
        settings[name].value.extend([value] if isinstance(value, str) else value)
