"""Usage texts of `serve` and `start`, and the page of flags in the docs, made from the rows."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from mpserve.dialect import DialectName
from mpserve.settings.flags import Flag, Group, Kind, Standing
from mpserve.settings.mlserver_fields import MLSERVER_FIELDS

WIDTH: Final = 100
HELP_COLUMN: Final = 6
_HEADS: Final = {
    DialectName.TRITON: "Usage: mpserve serve [options]",
    DialectName.MLSERVER: "Usage: mpserve start FOLDER [options]",
}


def usage_text(command: DialectName, flags: Sequence[Flag]) -> str:
    """Return the usage text of the command with that dialect, flags in groups."""
    blocks = [_HEADS[command]]
    for group, rows in grouped(flags):
        blocks += ["", f"{group.value}:"]
        blocks += [line for row in rows for line in _usage_lines(row, command)]
    return "\n".join(blocks) + "\n"


def grouped(flags: Sequence[Flag]) -> Iterator[tuple[Group, list[Flag]]]:
    """Yield each group with its rows; groups in the order of `Group`."""
    order = list(Group)
    rows = sorted(flags, key=lambda row: order.index(row.group))
    for group, members in itertools.groupby(rows, key=lambda row: row.group):
        yield group, list(members)


def default_text(flag: Flag, command: DialectName) -> str:
    """Return the default as it would be typed; "" when there is none to show."""
    value = flag.default_of(command)
    if flag.kind is Kind.SWITCH or flag.repeatable:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _usage_lines(flag: Flag, command: DialectName) -> list[str]:
    names = ", ".join(f"--{name}" for name in (flag.name, flag.alias) if name)
    value = f" <{_value_name(flag)}>" if flag.kind is not Kind.SWITCH else ""
    default = default_text(flag, command)
    text = flag.help
    if flag.repeatable:
        text += " May be repeated."
    if default:
        text += f" [default: {default}]"
    return [
        f"  {names}{value}",
        *textwrap.wrap(
            text,
            width=WIDTH,
            initial_indent=" " * HELP_COLUMN,
            subsequent_indent=" " * HELP_COLUMN,
        ),
    ]


def _value_name(flag: Flag) -> str:
    return "|".join(flag.choices) if flag.choices else flag.kind.value


def flags_page() -> str:
    """Return `docs/flags.md`."""
    # Here, because the page alone needs all rows; the commands hand theirs in.
    from mpserve.settings.flags_acting import ACTING  # noqa: PLC0415
    from mpserve.settings.flags_inert import INERT  # noqa: PLC0415

    lines = [
        "# Flags",
        "",
        "<!-- Made by `make docs` from the tables in `mpserve/settings`; do not edit. -->",
        "",
        "Precedence: flag, `MPSERVE_<FLAG>`, `--settings-file`; for `mpserve start` then",
        "`settings.json` of the FOLDER, `MLSERVER_<FIELD>`, the same in a `.env` of the working",
        "directory; default. The rules of values are Triton's: `true`/`on`/`1`,",
        "`--flag value` or `--flag=value`; the last of several wins unless a flag may be repeated.",
        "",
        "## Flags that act",
    ]
    for group, rows in grouped(ACTING):
        lines += ["", f"### {group.value}", "", "| flag | `serve` | `start` | what it does |"]
        lines += ["|---|---|---|---|"]
        lines += [_acting_row(row) for row in rows]
    lines += [
        "",
        "## Triton flags that change nothing or are refused",
        "",
        "`mpserve serve` knows them, so that Triton's command lines are understood.",
        "",
        "| flag | what comes of it |",
        "|---|---|",
    ]
    lines += [f"| `--{row.name}` | {row.help} |" for _, rows in grouped(INERT) for row in rows]
    lines += [
        "",
        "## Settings of MLServer",
        "",
        "Read by `mpserve start` from `settings.json` and `MLSERVER_<FIELD>`; the file goes first.",
        "",
        "| field | what comes of it |",
        "|---|---|",
    ]
    lines += [
        f"| `{field.name}` | {_field_outcome(field.standing, field.flag, field.reason)} |"
        for field in MLSERVER_FIELDS
    ]
    return "\n".join(lines) + "\n"


def _acting_row(flag: Flag) -> str:
    defaults = (
        f"`{text}`" if (text := default_text(flag, command)) else ""
        for command in (DialectName.TRITON, DialectName.MLSERVER)
    )
    names = " or ".join(f"`--{name}`" for name in (flag.name, flag.alias) if name)
    return f"| {names} | {' | '.join(defaults)} | {flag.help.replace('|', chr(92) + '|')} |"


def _field_outcome(standing: Standing, flag: str, reason: str) -> str:
    if standing is Standing.ACTS:
        return f"as `--{flag}`" if flag else reason
    prefix = "refused" if standing is Standing.REFUSED else "changes nothing"
    return f"{prefix}: {reason}"
