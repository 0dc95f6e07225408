"""A click command whose options are rows of the table of flags.

click knows the options for completion and introspection; the words are read by our own rules
(`mpserve.settings.arguments`), because Triton's differ from click's: abbreviations, value words,
usage on standard error with exit code 1.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NoReturn

import click

from mpserve import __version__
from mpserve.dialect import DialectName
from mpserve.errors import ConfigError
from mpserve.settings.arguments import HelpWanted, UsageError
from mpserve.settings.flags import Flag, Kind
from mpserve.settings.reading import Reading
from mpserve.settings.settings import Settings
from mpserve.settings.validation import CreationError
from mpserve.telemetry import log
from mpserve.telemetry.log_file import redirect

Read = Callable[..., Reading]
EXIT_USAGE: Final = {DialectName.TRITON: 1, DialectName.MLSERVER: 2}
EXIT_HELP: Final = {DialectName.TRITON: 1, DialectName.MLSERVER: 0}
EXIT_CONFIG: Final = 1


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
    """Reads its words by the rules of the peer whose command it stands for, and runs the server."""

    def __init__(
        self, *, name: str, command: DialectName, flags: Sequence[Flag], read: Read
    ) -> None:
        super().__init__(
            name=name,
            params=options_of(flags),
            add_help_option=False,
            short_help=_SHORT_HELP[command],
        )
        self._command = command
        self._flags = flags
        self._read = read

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they are; `invoke` reads them."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Read the words, run the server, and exit with its code."""
        environment = dict(os.environ)
        reread = partial(self._read, list(ctx.args), environment=environment, version=__version__)
        sys.exit(run_server(self._reading(ctx.args), reread=reread))

    def _reading(self, words: list[str]) -> Reading:
        try:
            return self._read(words, environment=os.environ, version=__version__)
        except HelpWanted:
            self._exit_with_help()
        except UsageError as error:
            self._exit_with_usage(error)
        except CreationError as error:
            click.echo(error.line, err=True)
            sys.exit(EXIT_CONFIG)
        except ConfigError as error:
            click.echo(f"mpserve: {error}", err=True)
            sys.exit(EXIT_CONFIG)

    def _exit_with_help(self) -> NoReturn:
        # Triton treats --help as a failed command line: standard error, exit code 1.
        code = EXIT_HELP[self._command]
        click.echo(self._usage(), err=code != 0, nl=False)
        sys.exit(code)

    def _exit_with_usage(self, error: UsageError) -> NoReturn:
        if self._command is DialectName.TRITON:
            click.echo(f"{self._usage()}\n{error}", err=True)
        else:
            hint = "Try 'mpserve start --help' for the options."
            click.echo(f"mpserve start: {error}\n{hint}", err=True)
        sys.exit(EXIT_USAGE[self._command])

    def _usage(self) -> str:
        from mpserve.settings.usage import usage_text  # noqa: PLC0415  # a start needs no usage text

        return usage_text(self._command, self._flags)


_SHORT_HELP: Final = {
    DialectName.TRITON: "Serve with Triton's flags and defaults (ports 8000, 8001, 8002).",
    DialectName.MLSERVER: "Serve a FOLDER as MLServer does (ports 8080, 8081, 8082).",
}


def run_server(reading: Reading, *, reread: Callable[[], Reading]) -> int:
    """Run a server until it ends; return the exit code of the process.

    Parameters
    ----------
    reread
        Reads the same words and environment, and files as they are by then.
    """
    settings = reading.settings
    _redirect_log(settings)
    log.configure(settings.log, role="supervisor")
    _divert_log(settings)
    for warning in reading.warnings:
        log.warning("setting.doubted", reason=warning)
    # Imported late: usage errors, --help and `models` must not pay for the server.
    from mpserve.supervisor.main import run  # noqa: PLC0415

    return run(settings, reread=reread)


def _divert_log(settings: Settings) -> None:
    """Let the log go where `logging_settings` of MLServer's settings say."""
    if not settings.logging.is_set:
        return
    from mpserve.telemetry.logging_sink import divert_to_logging  # noqa: PLC0415  it costs time

    try:
        divert_to_logging(settings.logging)
    except ConfigError as error:
        click.echo(f"mpserve: {error}", err=True)
        sys.exit(EXIT_CONFIG)


def _redirect_log(settings: Settings) -> None:
    """Put `--log-file` in the place of standard error, which every process of ours inherits."""
    try:
        redirect(settings.log.log_file)
    except OSError as error:
        click.echo(f"mpserve: --log-file '{settings.log.log_file}': {error.strerror}", err=True)
        sys.exit(EXIT_CONFIG)
