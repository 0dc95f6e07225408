"""A click command whose options are rows of the table of flags.

click knows the options for completion and introspection; the words are read by our own rules
(`mpserve.settings.arguments`), because Triton's differ from click's: abbreviations, value words,
usage on standard error with exit code 1.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

import click

from mpserve.cli.server_start import ServerStart
from mpserve.dialect import DialectName
from mpserve.settings.flags import Flag, Kind


def options_of(flags: Sequence[Flag]) -> list[click.Parameter]:
    """Return the click options of the rows, for completion and introspection."""
    return [
        click.Option(
            [f"--{flag.name}", *([f"--{flag.alias}"] if flag.alias else [])],
            is_flag=flag.kind is Kind.SWITCH,
            multiple=flag.repeatable,
            type=click.Choice(flag.choices) if flag.choices else click.STRING,
            help=flag.help,
        )
        for flag in flags
    ]


class ServerCommand(click.Command):
    """Leaves its words to the start of the server."""

    def __init__(self, *, name: str, start: ServerStart) -> None:
        super().__init__(
            name=name,
            params=options_of(start.flags),
            add_help_option=False,
            short_help=_SHORT_HELP[start.command],
        )
        self._start = start

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they are; `invoke` hands them on."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Run the server, and exit with its code."""
        self._start.run(ctx.args)


_SHORT_HELP: Final = {
    DialectName.TRITON: "Serve with Triton's flags and defaults (ports 8000, 8001, 8002).",
    DialectName.MLSERVER: "Serve a FOLDER as MLServer does (ports 8080, 8081, 8082).",
}
