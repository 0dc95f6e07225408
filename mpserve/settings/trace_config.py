"""What `--trace-config`, its deprecated kin and OpenTelemetry's variables say together."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from mpserve.model.trace_setting import TENSORS, TIMESTAMPS, SpanExport, TraceMode, TraceSetting
from mpserve.settings.values import INT32_MAX, BadValue, parse_integer

_UINT32_MAX: Final = 2**32 - 1
_LEVELS: Final[Mapping[str, str]] = {
    "off": "",
    "false": "",
    "timestamps": TIMESTAMPS,
    "true": TIMESTAMPS,
    "on": TIMESTAMPS,
    "min": TIMESTAMPS,
    "max": TIMESTAMPS,
    "tensors": TENSORS,
}
LEVEL_WORDS: Final = tuple(_LEVELS)
_MODES: Final = frozenset(mode.value for mode in TraceMode)
_NUMBERS: Final = {"rate": (0, _UINT32_MAX), "count": (-1, INT32_MAX)}
_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    "triton": {"file": "file", "log-frequency": "log_frequency"},
    "opentelemetry": {
        "url": "url",
        "resource": "resource",
        "bsp_max_queue_size": "queue_size",
        "bsp_schedule_delay": "delay_ms",
        "bsp_max_export_batch_size": "batch_size",
    },
}
_FROM_ENVIRONMENT: Final = {
    "queue_size": "OTEL_BSP_MAX_QUEUE_SIZE",
    "delay_ms": "OTEL_BSP_SCHEDULE_DELAY",
    "batch_size": "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
}
_TEXTS: Final = frozenset({"file", "url", "resource"})
_DEPRECATED: Final = {
    "trace-rate": "rate",
    "trace-count": "count",
    "trace-level": "level",
    "trace-file": "triton,file",
    "trace-log-frequency": "triton,log-frequency",
}


def split_assignments(text: str) -> tuple[str, ...]:
    """Return the values of the flag that its environment variable holds.

    Commas stand between values, and between a mode and its setting: a piece without an equals sign
    is a mode, and goes with the next one.
    """
    values: list[str] = []
    mode = ""
    for piece in text.split(","):
        if "=" in piece:
            values.append(mode + piece)
            mode = ""
        else:
            mode += f"{piece},"
    return (*values, mode.rstrip(",")) if mode else tuple(values)


def check_trace_config(texts: tuple[str, ...]) -> None:
    """Check `<setting>=<value>` or `<mode>,<setting>=<value>`."""
    for text in texts:
        mode, setting, value = _parts(text)
        if mode:
            _check_own(mode, setting, value)
        elif setting == "level" and value.lower() not in _LEVELS:
            raise BadValue(f"invalid value for trace level option: {value}", detail="level")
        elif setting == "mode" and value not in _MODES:
            raise BadValue(_mode_complaint(value))
        elif setting in _NUMBERS:
            least, most = _NUMBERS[setting]
            _check_number(value, setting, least=least, most=most)
        elif setting not in {"level", "mode"}:
            raise BadValue(
                f"unknown trace setting '{setting}'; use level, rate, count or mode, or a setting "
                "of a mode as in triton,file=trace.json"
            )


def read_tracing(
    values: Mapping[str, tuple[Any, ...]], chosen: Mapping[str, object]
) -> dict[str, object]:
    """Return the fields of `Settings`; the flags were checked.

    Parameters
    ----------
    values
        Of each flag.
    chosen
        What was said in so many words: `--trace-config` goes before the deprecated flags.
    """
    texts = [
        f"{setting}={value}"
        for name, setting in _DEPRECATED.items()
        if name in chosen
        for value in values[name]
    ]
    texts += [str(text) for text in values["trace-config"]]
    if any(_parts(text)[:2] == ("", "level") for text in map(str, values["trace-config"])):
        texts = [text for text in texts if text not in _deprecated_levels(values, chosen)]
    setting: dict[str, Any] = {}
    export: dict[str, Any] = {}
    resource: dict[str, str] = {}
    levels: list[str] = []
    for text in texts:
        mode, name, value = _parts(text)
        if mode:
            field = _OWN[mode][name]
            into = setting if mode == TraceMode.TRITON.value else export
            if field == "resource":
                key, _, told = value.partition("=")
                resource[key] = told
            elif field == "file":
                into[field] = os.path.abspath(value)  # noqa: PTH100  it need not exist
            else:
                into[field] = (
                    value if field in _TEXTS else parse_integer(value, largest=_UINT32_MAX)
                )
        elif name == "level":
            levels.append(_LEVELS[value.lower()])
        elif name == "mode":
            setting["mode"] = TraceMode(value)
        else:
            setting[name] = parse_integer(value, largest=_UINT32_MAX)
    setting["levels"] = _together(levels)
    return {
        "trace": TraceSetting(**setting),
        "span_export": SpanExport(**export, resource=resource),
    }


def with_environment(
    export: SpanExport, environment: Mapping[str, str], *, said: Iterable[str]
) -> SpanExport:
    """Return where spans go with what OpenTelemetry's own variables say.

    Parameters
    ----------
    said
        Values of `--trace-config`, which go before.
    """
    own = _OWN[TraceMode.OPENTELEMETRY.value]
    named = {own[name] for mode, name, _ in map(_parts, said) if mode and name in own}
    found = {
        field: int(environment[name])
        for field, name in _FROM_ENVIRONMENT.items()
        if field not in named and environment.get(name, "").isdecimal()
    }
    told = {field: number for field, number in found.items() if number}
    return msgspec.structs.replace(export, **told)


def deprecations(chosen: Iterable[str]) -> tuple[str, ...]:
    """Return what to tell of deprecated flags that were given."""
    return tuple(
        f"'--{name}' has been deprecated and will be removed in future releases. Please use "
        f"'--trace-config' instead."
        for name in _DEPRECATED
        if name in chosen
    )


def _deprecated_levels(
    values: Mapping[str, tuple[Any, ...]], chosen: Mapping[str, object]
) -> set[str]:
    if "trace-level" not in chosen:
        return set()
    return {f"level={value}" for value in values["trace-level"]}


def _together(levels: Iterable[str]) -> tuple[str, ...]:
    """All levels that were named, or none when one of them was OFF."""
    named = set(levels)
    return () if "" in named else tuple(one for one in (TIMESTAMPS, TENSORS) if one in named)


def _parts(text: str) -> tuple[str, str, str]:
    complaint = f"--trace-config option format is '<trace mode>,<setting>=<value>'. Got {text}"
    mode, comma, rest = text.partition(",")
    if not comma or "=" in mode:
        mode, rest = "", text
    setting, equals, value = rest.partition("=")
    if not (setting and equals and value):
        raise BadValue(complaint)
    return mode, setting, value


def _check_own(mode: str, setting: str, value: str) -> None:
    if mode not in _OWN:
        raise BadValue(_mode_complaint(mode))
    field = _OWN[mode].get(setting)
    if field is None:
        known = ", ".join(_OWN[mode])
        raise BadValue(f"unknown trace setting '{setting}' of mode {mode}; use one of: {known}")
    if field == "resource" and not all(value.partition("=")):
        raise BadValue(f"'{value}' is no resource attribute; give it as <key>=<value>")
    if field not in _TEXTS:
        least = 0 if field == "log_frequency" else 1
        _check_number(value, setting, least=least, most=_UINT32_MAX)


def _check_number(value: str, setting: str, *, least: int, most: int) -> None:
    number = parse_integer(value, largest=_UINT32_MAX)
    if not least <= number <= most:
        raise BadValue(f"{setting} must be {least} to {most}, got {value}", detail=setting)


def _mode_complaint(mode: str) -> str:
    return (
        f"invalid value for trace mode option: {mode}. Available options are "
        '"triton" and "opentelemetry"'
    )
