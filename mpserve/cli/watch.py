"""Showing what changes in a running server, until Ctrl-C."""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mpserve.cli.output import models_table, print_models
from mpserve.cli.repository_client import CallFailed, IndexEntry
from mpserve.model.event import EventPage, RepositoryEvent

Seen = TypeVar("Seen")
_SECOND_NS = 1_000_000_000


def watch_models(
    look: Callable[[], list[IndexEntry]], *, interval_secs: float, as_json: bool
) -> None:
    """Show the index whenever it changed, at a terminal in the same place; returns at Ctrl-C.

    A server that does not answer is told, and looked for again.
    """
    try:
        if sys.stdout.isatty() and not as_json:
            _redraw(look, interval_secs=interval_secs)
            return
        for seen in changes(look, interval_secs=interval_secs):
            if isinstance(seen, CallFailed):
                click.echo(f"mpserve models: {seen}", err=True)
            elif as_json:
                click.echo(msgspec.json.encode(seen).decode())
            else:
                print_models(seen)
    except KeyboardInterrupt:
        return


def _redraw(look: Callable[[], list[IndexEntry]], *, interval_secs: float) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        for seen in changes(look, interval_secs=interval_secs):
            if isinstance(seen, CallFailed):
                live.update(Text(str(seen), style="red"), refresh=True)
            else:
                live.update(models_table(seen), refresh=True)


def changes(look: Callable[[], Seen], *, interval_secs: float) -> Iterator[Seen | CallFailed]:
    """Yield what `look` returns whenever it differs from before, and why it failed likewise."""
    before: Seen | str | None = None
    while True:
        try:
            seen = look()
        except CallFailed as error:
            if before != str(error):
                before = str(error)
                yield error
        else:
            if seen != before:
                before = seen
                yield seen
        time.sleep(interval_secs)


class EventPrinter:
    """Prints events, one line each; says so where the server had forgotten some."""

    def __init__(self, *, as_json: bool) -> None:
        self._line = json_line if as_json else text_line

    def show(self, page: EventPage) -> None:
        """Print the events of a page."""
        for event in page.events:
            click.echo(self._line(event))

    def tell_gap(self, count: int) -> None:
        """Say on standard error that `count` events were forgotten before they were asked for."""
        click.echo(f"mpserve models: {count} events were forgotten by the server", err=True)


def follow_events(
    look: Callable[[int], EventPage],
    printer: EventPrinter,
    *,
    since: int,
    interval_secs: float,
) -> None:
    """Print what happens from now on; returns at Ctrl-C. A server that was restarted is noticed.

    Raises
    ------
    SystemExit
        The server does not answer any more.
    """
    last = since
    try:
        while True:
            time.sleep(interval_secs)
            page = look(last)
            if page.last < last:  # another server, whose numbers begin at 1 again
                page = look(0)
            elif page.first > last + 1:
                printer.tell_gap(page.first - last - 1)
            printer.show(page)
            last = page.last
    except KeyboardInterrupt:
        return
    except CallFailed as error:
        click.echo(f"mpserve models: {error}", err=True)
        sys.exit(1)


def json_line(event: RepositoryEvent) -> str:
    """Return an event as the server told it."""
    return msgspec.json.encode(event).decode()


def text_line(event: RepositoryEvent) -> str:
    """Return an event for a person."""
    moment = datetime.fromtimestamp(event.at_unix_ns / _SECOND_NS, tz=UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    version = f":{event.version}" if event.version else ""
    instance = "" if event.instance is None else f" instance {event.instance}"
    if event.to is None:
        why = " ".join(event.why.split())
        return f"{event.number} {stamp} {event.model} {event.asked_by.value}: unchanged ({why})"
    was = "-" if event.from_state is None else event.from_state.value
    took = f" after {event.took_ms} ms" if event.from_state is not None else ""
    why = f" ({' '.join(event.why.split())})" if event.why else ""
    return (
        f"{event.number} {stamp} {event.model}{version} generation {event.generation}{instance} "
        f"{event.asked_by.value}: {was} → {event.to.value}{took}{why}"
    )
