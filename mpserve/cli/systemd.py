"""`mpserve systemd`: unit files for the server, printed or put in their place."""

import os
import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

SOCKETS: Final = {
    "http": ("mpserve.socket", "127.0.0.1:8000"),
    "grpc": ("mpserve-grpc.socket", "127.0.0.1:8001"),
    "metrics": ("mpserve-metrics.socket", "127.0.0.1:8002"),
}
"""What is listened for -> unit, and the address that it has by default."""
UNITS: Final = ("mpserve.service", *(unit for unit, _ in SOCKETS.values()))
DIRECTORY: Final = "/etc/systemd/system"


@click.group()
def systemd() -> None:
    """Unit files of systemd."""


def _options(command: click.Command) -> click.Command:
    for option in (
        click.option(
            "--model-repository",
            default="/srv/models",
            show_default=True,
            help="Folder of the models; the service may only read it.",
        ),
        *(
            click.option(
                f"--{name}",
                default=address,
                show_default=True,
                help=f"Where {unit} listens.",
            )
            for name, (unit, address) in reversed(SOCKETS.items())
        ),
    ):
        command = option(command)
    return command


@systemd.command("print")
@click.argument("unit", type=click.Choice(UNITS), default=UNITS[0])
def print_unit(unit: str, model_repository: str, **addresses: str) -> None:
    """Print a unit file."""
    click.echo(filled(unit, model_repository=model_repository, addresses=addresses), nl=False)


@systemd.command()
@click.option("--directory", default=DIRECTORY, show_default=True, help="Where units lie.")
def install(directory: str, model_repository: str, **addresses: str) -> None:
    """Write the unit files; start them with systemctl."""
    for unit in UNITS:
        path = Path(directory, unit)
        try:
            path.write_text(filled(unit, model_repository=model_repository, addresses=addresses))
        except OSError as error:
            click.echo(f"mpserve systemd: {path}: {error.strerror}", err=True)
            sys.exit(1)
        click.echo(str(path))
    click.echo(f"systemctl daemon-reload && systemctl enable --now {' '.join(reversed(UNITS))}")


def filled(unit: str, *, model_repository: str, addresses: dict[str, str]) -> str:
    """Return a unit file with the server's own command in it."""
    text = files("mpserve.cli").joinpath("units", unit).read_text()
    found = shutil.which("mpserve")
    words = [_word(found)] if found else [_word(sys.executable), "-m", "mpserve"]
    program = " ".join(words)
    folder = os.path.abspath(model_repository)  # noqa: PTH100  # links are kept
    flag = _word(f"--model-repository={folder}").replace("$", "$$")
    command = f"{program} serve {flag} --http-address=127.0.0.1"
    for name, address in addresses.items():
        text = text.replace(f"@{name.upper()}@", address)
    return (
        text.replace("@COMMAND@", command)
        .replace("@PROGRAM@", program)
        .replace("@REPOSITORY@", _word(folder))
    )


def _word(text: str) -> str:
    """Return a text as one word of a unit file: `%` begins a specifier there, blanks divide words.

    Source: systemd.syntax(7). In arguments of commands a `$` has to be doubled besides.
    """
    text = text.replace("%", "%%")
    if not re.search(r"""[\s'"\\;]""", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_options(print_unit)
_options(install)
