"""Flags of the command line: what a row is. The rows are in `flags_acting` and `flags_inert`.

One row says everything about a flag: how its text is read, where it goes, its default in each
command, and its help. `click` options, `--help`, `docs/flags.md`, environment variables and checks
are made from it.
"""

import enum
from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.dialect import DialectName
from mpserve.settings.values import (
    INT32_MAX,
    INT64_MAX,
    BadValue,
    parse_bool,
    parse_choice,
    parse_integer,
    parse_number,
    parse_verbosity,
)

Value = str | int | float | bool
Check = Callable[[tuple[str, ...]], None]
ENV_PREFIX: Final = "MPSERVE_"


def split_at_commas(text: str) -> tuple[str, ...]:
    """Return the values of a repeatable flag that its environment variable holds."""
    return tuple(text.split(","))


class Kind(enum.Enum):
    """How the text of a flag is read."""

    STRING = "TEXT"
    BOOL = "BOOL"
    INT = "INT"
    INT64 = "INT64"
    FLOAT = "NUMBER"
    CHOICE = "WORD"
    VERBOSITY = "LEVEL"
    SWITCH = ""
    """Takes no text."""


class Group(enum.Enum):
    """Heading in `--help` and in the docs."""

    REPOSITORY = "Model repository"
    LIFECYCLE = "Life cycle"
    PROCESSES = "Processes and shared memory"
    HTTP = "HTTP"
    GRPC = "gRPC"
    CLIENTS = "Limits of clients"
    METRICS = "Metrics"
    METADATA = "Server metadata"
    LOG = "Log"
    TRACING = "Tracing"
    CACHE = "Response cache"
    SCHEDULING = "Scheduling"
    BACKENDS = "Backends and devices"
    CLOUD = "Cloud adaptors"


class Standing(enum.Enum):
    """What comes of setting a flag."""

    ACTS = "acts"
    NO_EFFECT = "no effect"
    """Any valid value is taken and changes nothing, because mpserve works another way."""
    REFUSED = "refused"
    """Only values that switch the feature off (or leave its default) are taken."""


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag.

    Attributes
    ----------
    name
        Without the dashes.
    alias
        Another name, "" for none.
    field
        Field of `Settings` it fills; "" when it only takes part in making one (`assembly.py`).
    default, start_default
        Value of `mpserve serve` (Triton's default), and of `mpserve start` where that differs.
    repeatable
        May be given several times, and then means all its values; otherwise the last wins.
    choices
        Of `Kind.CHOICE`.
    complaint
        Reason told when the text is none of `choices`.
    least, most
        Bounds of a number, and `bound_complaint` the reason told outside of them.
    check
        Further check of all values that were given.
    split
        Text of the environment variable of a repeatable flag -> its values.
    standing, reason
        What comes of setting it and, unless it acts, why.
    off
        Values that a `REFUSED` flag takes, besides its default.
    """

    name: str
    kind: Kind
    group: Group
    help: str
    alias: str = ""
    field: str = ""
    default: Value = ""
    start_default: Value | None = None
    repeatable: bool = False
    choices: tuple[str, ...] = ()
    ignore_case: bool = True
    complaint: str = ""
    least: int | None = None
    most: int | None = None
    bound_complaint: str = ""
    check: Check | None = None
    standing: Standing = Standing.ACTS
    reason: str = ""
    off: tuple[Value, ...] = ()
    is_off: Callable[[tuple[str, ...]], bool] | None = None
    split: Callable[[str], tuple[str, ...]] = split_at_commas

    @property
    def environment_name(self) -> str:
        """Environment variable of an acting flag: `http-port` is `MPSERVE_HTTP_PORT`."""
        return ENV_PREFIX + self.name.upper().replace("-", "_")

    def default_of(self, command: DialectName) -> Value:
        """Return the default in the command of that dialect."""
        if command is DialectName.MLSERVER and self.start_default is not None:
            return self.start_default
        return self.default

    def read(self, text: str) -> Value:
        """Return the value of one text.

        Raises
        ------
        BadValue
            The text is not of the flag's kind, or out of its bounds.
        """
        value = _READERS[self.kind](self, text)
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        too_small = self.least is not None and value < self.least
        if too_small or (self.most is not None and value > self.most):
            raise BadValue(self.bound_complaint or self._range_complaint(value))
        return value

    def read_all(self, texts: tuple[str, ...]) -> tuple[Value, ...]:
        """Return the values of everything the flag was given; raises `BadValue`."""
        values = tuple(self.read(text) for text in texts)
        if self.check is not None:
            self.check(texts)
        if self.standing is Standing.REFUSED and not self._keeps_off(texts, values):
            raise BadValue(self.reason)
        return values

    def _keeps_off(self, texts: tuple[str, ...], values: tuple[Value, ...]) -> bool:
        if self.is_off is not None:
            return self.is_off(texts)
        return all(value == self.default or value in self.off for value in values)

    def _range_complaint(self, value: int) -> str:
        if self.most is None:
            return f"{value} is too small, at least {self.least} is needed"
        return f"{value} is out of range, {self.least} to {self.most} is allowed"


_READERS: Final[dict[Kind, Callable[[Flag, str], Value]]] = {
    Kind.STRING: lambda _, text: text,
    Kind.BOOL: lambda _, text: parse_bool(text),
    Kind.INT: lambda _, text: parse_integer(text, largest=INT32_MAX),
    Kind.INT64: lambda _, text: parse_integer(text, largest=INT64_MAX),
    Kind.FLOAT: lambda _, text: parse_number(text),
    Kind.VERBOSITY: lambda _, text: parse_verbosity(text),
    Kind.SWITCH: lambda _, text: parse_bool(text),
    Kind.CHOICE: lambda flag, text: parse_choice(
        text, choices=flag.choices, ignore_case=flag.ignore_case, complaint=flag.complaint
    ),
}
