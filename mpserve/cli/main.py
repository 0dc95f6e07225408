"""The command `mpserve`. A subcommand's module is imported when it is called: starts stay quick."""

import importlib
from typing import Final

import click

from mpserve import __version__

COMMANDS: Final = {
    "serve": "mpserve.cli.serve",
    "start": "mpserve.cli.start",
    "models": "mpserve.cli.models",
    "reload": "mpserve.cli.reload",
    "check": "mpserve.cli.check",
    "doctor": "mpserve.cli.doctor",
    "systemd": "mpserve.cli.systemd",
}
"""Subcommand -> module that holds it under its own name."""


class LazyGroup(click.Group):
    """Finds its subcommands in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names of the subcommands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the subcommand, or nothing for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mpserve")
def main() -> None:
    """Serve Python models over Triton's and MLServer's protocols."""
