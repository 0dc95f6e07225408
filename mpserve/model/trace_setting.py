"""What is traced, as the flags say, and as Triton's trace extension tells and changes it."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

TIMESTAMPS: Final = "TIMESTAMPS"
TENSORS: Final = "TENSORS"
UNLIMITED: Final = -1


class TraceMode(enum.Enum):
    """Where traces go. Spelled as Triton's flag."""

    TRITON = "triton"
    """To a JSON file."""
    OPENTELEMETRY = "opentelemetry"
    """To a collector, by OTLP over HTTP."""


class TraceSetting(msgspec.Struct, frozen=True, kw_only=True):
    """Trace setting of the server or of a model.

    Attributes
    ----------
    levels
        Empty: nothing is traced.
    rate
        One of so many requests is traced; 0 for none but those that bring a context.
    count
        How many more traces are made; -1 for any number.
    log_frequency
        Traces to a file; 0 for one file.
    file
        Absolute path of the file; with a log frequency, `.0`, `.1`, ... is added. "" for none.
    """

    levels: tuple[str, ...] = ()
    rate: int = 1000
    count: int = UNLIMITED
    log_frequency: int = 0
    file: str = ""
    mode: TraceMode = TraceMode.TRITON

    @property
    def is_on(self) -> bool:
        """Whether anything is traced."""
        return bool(self.levels)

    @property
    def fault(self) -> str:
        """Why nothing can be traced by it, in Triton's words; "" when it can, or should not."""
        if not self.is_on:
            return ""
        if self.mode is TraceMode.OPENTELEMETRY:
            return ""
        if self.rate == 0:
            return "sample rate must be non-zero"
        return "" if self.file else "trace file name is not given"


class SpanExport(msgspec.Struct, frozen=True, kw_only=True):
    """Where OpenTelemetry's spans go, and how many at a time.

    Attributes
    ----------
    url
        Of the collector, for OTLP over HTTP.
    resource
        Attributes of the server, such as `service.name`.
    queue_size, batch_size
        Spans that wait at most, and that go together.
    delay_ms
        Between two exports.
    """

    url: str = "http://localhost:4318/v1/traces"
    resource: Mapping[str, str] = {}
    queue_size: int = 2048
    delay_ms: int = 5000
    batch_size: int = 512


class ToldTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as clients are told it; `export` when traces go out as spans."""

    setting: TraceSetting
    export: SpanExport | None = None


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes know of one setting; `slot` is where they count together."""

    slot: int
    setting: TraceSetting


class TraceChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants otherwise; `None` goes back to what holds without it."""

    levels: tuple[str, ...] | UnsetType | None = UNSET
    rate: int | UnsetType | None = UNSET
    count: int | UnsetType | None = UNSET
    log_frequency: int | UnsetType | None = UNSET


class TraceOverride(msgspec.Struct, frozen=True, kw_only=True):
    """What was set otherwise than below it; `None` where nothing was."""

    levels: tuple[str, ...] | None = None
    rate: int | None = None
    count: int | None = None
    log_frequency: int | None = None


def overridden(setting: TraceSetting, override: TraceOverride) -> TraceSetting:
    """Return the setting that holds when `override` lies above `setting`."""
    said = msgspec.structs.asdict(override)
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(setting, **given)


def changed(override: TraceOverride, change: TraceChange) -> TraceOverride:
    """Return the override after a change."""
    wanted = msgspec.structs.asdict(change)
    given = {name: value for name, value in wanted.items() if value is not UNSET}
    return msgspec.structs.replace(override, **given)
