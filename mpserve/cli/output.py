"""Tables for people at a terminal."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpserve.cli.repository_client import IndexEntry

_STYLES: Final = {
    "READY": "green",
    "LOADING": "yellow",
    "UNLOADING": "yellow",
    "UNAVAILABLE": "red",
}


def print_models(entries: Sequence[IndexEntry]) -> None:
    """Print the repository index as a table on standard output."""
    Console().print(models_table(entries))


def models_table(entries: Sequence[IndexEntry]) -> Table:
    """Return the repository index as a table."""
    table = Table("Model", "Version", "State", "Reason", box=None, pad_edge=False)
    for entry in entries:
        style = _STYLES.get(entry.state, "")
        state = f"[{style}]{entry.state}[/]" if style else entry.state or "-"
        table.add_row(escape(entry.name), entry.version or "-", state, escape(entry.reason))
    return table
