"""`mpserve models list|load|unload|events`: the models of a running server."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click
import msgspec

from mpserve.errors import ConfigError

if TYPE_CHECKING:
    from mpserve.cli.repository_client import RepositoryClient

DEFAULT_URL: Final = "http://127.0.0.1:8000"
LOAD_TIMEOUT_SECS: Final = (
    660.0  # above the server's own limit for a load, so that its reason is seen
)
EXIT_FAILED: Final = 1
Command = TypeVar("Command", bound=Callable[..., Any])


def _server_options(command: Command) -> Command:
    timeout = click.option(
        "--timeout",
        "timeout_secs",
        type=click.FloatRange(min=0.1),
        default=LOAD_TIMEOUT_SECS,
        show_default=True,
        help="Seconds to wait for the answer.",
    )
    url = click.option(
        "--url",
        default=DEFAULT_URL,
        show_default=True,
        envvar="MPSERVE_URL",
        show_envvar=True,
        help="Address of the server; `mpserve start` listens on port 8080.",
    )
    return url(timeout(command))


def _interval_option(flag: str) -> Callable[[Command], Command]:
    return click.option(
        "--interval",
        "interval_secs",
        type=click.FloatRange(min=0.05),
        default=1.0,
        show_default=True,
        help=f"Seconds between two looks of {flag}.",
    )


@click.group()
def models() -> None:
    """Show, load and unload the models of a running server, and tell what happened to them."""


@models.command(name="list")
@_server_options
@click.option("--json", "as_json", is_flag=True, help="Print the index as JSON.")
@click.option("--watch", is_flag=True, help="Show it again at each change, until Ctrl-C.")
@_interval_option("--watch")
def list_models(
    url: str, timeout_secs: float, *, as_json: bool, watch: bool, interval_secs: float
) -> None:
    """Show every model of the repository and its state."""
    if watch:
        from mpserve.cli.watch import watch_models  # noqa: PLC0415  # as below

        client = _client(url, timeout_secs)
        watch_models(client.index, interval_secs=interval_secs, as_json=as_json)
        return
    entries = _call(url, timeout_secs, lambda client: client.index())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(entries)).decode())
        return
    # rich is imported only to print a table: it costs more than the rest of the command.
    from mpserve.cli.output import print_models  # noqa: PLC0415

    print_models(entries)


@models.command()
@_server_options
@click.option("--model", default="", help="Only of this model.")
@click.option("--since", type=click.IntRange(min=0), default=0, help="Only after this number.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
@click.option("--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@_interval_option("--follow")
def events(
    url: str,
    timeout_secs: float,
    *,
    model: str,
    since: int,
    as_json: bool,
    follow: bool,
    interval_secs: float,
) -> None:
    """Tell what happened to the models, oldest first: who asked, from, to, how long, why."""
    from mpserve.cli.watch import EventPrinter, follow_events  # noqa: PLC0415  # quick start

    printer = EventPrinter(as_json=as_json)
    page = _call(url, timeout_secs, lambda client: client.events(model=model, since=since))
    printer.show(page)
    if follow:
        client = _client(url, timeout_secs)
        follow_events(
            lambda last: client.events(model=model, since=last),
            printer,
            since=page.last,
            interval_secs=interval_secs,
        )


@models.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_server_options
def load(names: tuple[str, ...], url: str, timeout_secs: float) -> None:
    """Load models, or load them anew; returns when they are ready."""
    for name in names:
        _call(url, timeout_secs, lambda client: client.load(name))  # noqa: B023  # called at once
        click.echo(f"{name}: loaded")


@models.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_server_options
def unload(names: tuple[str, ...], url: str, timeout_secs: float) -> None:
    """Unload models."""
    for name in names:
        _call(url, timeout_secs, lambda client: client.unload(name))  # noqa: B023  # called at once
        click.echo(f"{name}: unloaded")


Result = TypeVar("Result")


def _call(url: str, timeout_secs: float, call: "Callable[[RepositoryClient], Result]") -> "Result":
    """Return what `call` gets from the server; ends the command with one line when it fails."""
    from mpserve.cli.repository_client import CallFailed  # noqa: PLC0415  # quick start

    try:
        return call(_client(url, timeout_secs))
    except CallFailed as error:
        _fail(error)


def _client(url: str, timeout_secs: float) -> "RepositoryClient":
    from mpserve.cli.repository_client import RepositoryClient  # noqa: PLC0415  # quick start

    try:
        return RepositoryClient(url=url, timeout_secs=timeout_secs)
    except ConfigError as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    click.echo(f"mpserve models: {error}", err=True)
    sys.exit(EXIT_FAILED)
