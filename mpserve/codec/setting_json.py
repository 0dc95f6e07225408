"""JSON bodies of the trace and logging extensions. Source: triton.md 3.11, 3.12."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import orjson

from mpserve.codec.json_member import (
    NOT_A_BOOLEAN,
    NOT_A_STRING,
    NOT_AN_ARRAY,
    NOT_AN_OBJECT,
    NOT_UNSIGNED,
)
from mpserve.codec.strict_json import JsonValue, parse
from mpserve.errors import InvalidRequest, MalformedRequest, Unsupported, WordUnknown
from mpserve.model.log_switches import LogChange, LogSwitches
from mpserve.model.request import Bytes
from mpserve.model.trace_setting import ToldTrace, TraceChange

LOG_FILE_FIXED: Final = "log file location can not be updated through network protocol"
TRACE_FILE_FIXED: Final = "trace file location can not be updated through network protocol"
MAX_VERBOSE: Final = 2**31 - 1
_UINT32_MAX: Final = 2**32 - 1
_INT32_MAX: Final = 2**31 - 1
_OFF: Final = "OFF"
_LEVELS: Final = (_OFF, "TIMESTAMPS", "TENSORS")
LOG_FORMATS: Final = ("default", "ISO8601", "json")  # the last one is ours


# --- logging ------------------------------------------------------------------------------------


def read_log_change(body: Bytes) -> LogChange:
    """Read the body of a change of the log; members that are not known are not looked at.

    Raises
    ------
    MalformedRequest
        Broken JSON, or a value of the wrong type.
    Unsupported
        The file can not be changed.
    WordUnknown
        There is no such format.
    """
    document = _object(body)
    if document.get("log_file") is not None:
        raise Unsupported(LOG_FILE_FIXED)
    found = {
        field: read(document[name])
        for name, (field, read) in _LOG_MEMBERS.items()
        if document.get(name) is not None
    }
    return msgspec.convert(found, LogChange)


def log_body(switches: LogSwitches) -> bytes:
    """Return the body that tells what the log writes."""
    return orjson.dumps(
        {
            "log_file": switches.log_file,
            "log_info": switches.info,
            "log_warning": switches.warning,
            "log_error": switches.error,
            "log_verbose_level": switches.verbose_level,
            "log_format": switches.log_format,
        }
    )


def _object(body: Bytes) -> dict[str, JsonValue]:
    document = parse(body)
    if not isinstance(document, dict):
        raise MalformedRequest(NOT_AN_OBJECT)
    return document


def _bool(value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise MalformedRequest(NOT_A_BOOLEAN)
    return value


def verbose_level(value: JsonValue) -> int:
    """Return a verbose level; raises `MalformedRequest`."""
    if type(value) is not int or not 0 <= value <= MAX_VERBOSE:
        raise MalformedRequest(NOT_UNSIGNED)
    return value


def _log_format(value: JsonValue) -> str:
    """Return a format of the log; raises `MalformedRequest`, `WordUnknown`."""
    word = _string(value)
    if word not in LOG_FORMATS:
        raise WordUnknown(f"invalid argument for --log_format, got: {word}")
    return word


def _string(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise MalformedRequest(NOT_A_STRING)
    return value


_LOG_MEMBERS: Final[dict[str, tuple[str, Callable[[JsonValue], Any]]]] = {
    "log_info": ("info", _bool),
    "log_warning": ("warning", _bool),
    "log_error": ("error", _bool),
    "log_verbose_level": ("verbose_level", verbose_level),
    "log_format": ("log_format", _log_format),
}


# --- trace --------------------------------------------------------------------------------------


def read_trace_change(body: Bytes) -> TraceChange:
    """Read the body of a change of the trace setting; other members are not looked at.

    Raises
    ------
    MalformedRequest
        Broken JSON, or a value of the wrong type.
    Unsupported
        The file can not be changed.
    InvalidRequest
        A number or a level can not be read.
    """
    document = _object(body)
    if "trace_file" in document:
        raise Unsupported(TRACE_FILE_FIXED)
    return read_trace_members(document)


def read_trace_members(members: Mapping[str, JsonValue]) -> TraceChange:
    """Read the members of a change, whichever wire they came by; raises as `read_trace_change`."""
    found: dict[str, object] = {}
    for name, (field, least, most) in _TRACE_NUMBERS.items():
        if name in members:
            found[field] = _number(members[name], name, least=least, most=most)
    if "trace_level" in members:
        found["levels"] = _trace_levels(members["trace_level"])
    return msgspec.convert(found, TraceChange)


def trace_body(told: ToldTrace) -> bytes:
    """Return the body that tells a trace setting."""
    return orjson.dumps(trace_members(told))


def trace_members(told: ToldTrace) -> dict[str, str | tuple[str, ...]]:
    """Return what both wires tell of a trace setting."""
    setting, export = told.setting, told.export
    members: dict[str, str | tuple[str, ...]] = {
        "trace_level": setting.levels or (_OFF,),
        "trace_rate": str(setting.rate),
        "trace_count": str(setting.count),
    }
    if export is None:
        members["log_frequency"] = str(setting.log_frequency)
        members["trace_file"] = setting.file
    else:
        members["url"] = export.url
        members["bsp_max_queue_size"] = str(export.queue_size)
        members["bsp_schedule_delay"] = str(export.delay_ms)
        members["bsp_max_export_batch_size"] = str(export.batch_size)
        members["resource"] = ",".join(f"{key}={value}" for key, value in export.resource.items())
    members["trace_mode"] = setting.mode.value
    return members


_TRACE_NUMBERS: Final = {
    "trace_rate": ("rate", 0, _UINT32_MAX),
    "trace_count": ("count", -1, _INT32_MAX),
    "log_frequency": ("log_frequency", 0, _UINT32_MAX),
}


def _number(value: JsonValue, name: str, *, least: int, most: int) -> int | None:
    if value is None:
        return None
    text = _string(value)
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise InvalidRequest(f"Unable to parse '{name}', got: {text}")
    if len(digits) > len(str(most)) or int(text) > most or (least == 0 and int(text) < 0):
        raise InvalidRequest(
            f"Unable to parse '{name}', value is out of range [ {least}, {most} ], got: {text}"
        )
    if int(text) < least:
        raise InvalidRequest(f"Unable to parse '{name}'. Expecting value >= {least}, got:{text}")
    return int(text)


def _trace_levels(value: JsonValue) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise MalformedRequest(NOT_AN_ARRAY)
    words = [_string(word) for word in value]
    for word in words:
        if word not in _LEVELS:
            raise InvalidRequest(
                f"Unable to parse 'trace_level', got: {word}; use {', '.join(_LEVELS)}"
            )
    if _OFF in words:
        if len(words) > 1:
            raise InvalidRequest("Expect only one trace level 'OFF' is specified")
        return ()
    return tuple(word for word in _LEVELS if word in words)
