"""The start of a server from its words: read them, run, exit with its code.

Nothing here needs click, whose import would be a tenth of a cold start.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NoReturn, TextIO

from mpserve import __version__
from mpserve.dialect import DialectName
from mpserve.errors import ConfigError
from mpserve.settings.arguments import HelpWanted, UsageError
from mpserve.settings.flags import Flag
from mpserve.settings.reading import SERVE_FLAGS, START_FLAGS, Reading, read_serve, read_start
from mpserve.settings.settings import Settings
from mpserve.settings.validation import CreationError
from mpserve.telemetry import log
from mpserve.telemetry.log_file import redirect

Read = Callable[..., Reading]
EXIT_USAGE: Final = {DialectName.TRITON: 1, DialectName.MLSERVER: 2}
EXIT_HELP: Final = {DialectName.TRITON: 1, DialectName.MLSERVER: 0}
EXIT_CONFIG: Final = 1


class ServerStart:
    """Reads words by the rules of the peer whose command it stands for, and runs the server."""

    def __init__(self, *, command: DialectName, flags: Sequence[Flag], read: Read) -> None:
        self.command = command
        self.flags = flags
        self._read = read

    def run(self, words: Sequence[str]) -> NoReturn:
        """Run the server that the words describe; exit with its code."""
        environment = dict(os.environ)
        reread = partial(self._read, list(words), environment=environment, version=__version__)
        sys.exit(run_server(self._reading(list(words)), reread=reread))

    def _reading(self, words: list[str]) -> Reading:
        try:
            return self._read(words, environment=os.environ, version=__version__)
        except HelpWanted:
            self._exit_with_help()
        except UsageError as error:
            self._exit_with_usage(error)
        except CreationError as error:
            _exit_with(error.line)
        except ConfigError as error:
            _exit_with(f"mpserve: {error}")

    def _exit_with_help(self) -> NoReturn:
        # Triton treats --help as a failed command line: standard error, exit code 1.
        code = EXIT_HELP[self.command]
        _tell(self._usage(), sys.stderr if code else sys.stdout)
        sys.exit(code)

    def _exit_with_usage(self, error: UsageError) -> NoReturn:
        if self.command is DialectName.TRITON:
            _tell(f"{self._usage()}\n{error}\n", sys.stderr)
        else:
            hint = "Try 'mpserve start --help' for the options."
            _tell(f"mpserve start: {error}\n{hint}\n", sys.stderr)
        sys.exit(EXIT_USAGE[self.command])

    def _usage(self) -> str:
        from mpserve.settings.usage import usage_text  # noqa: PLC0415  # a start needs no usage text

        return usage_text(self.command, self.flags)


SERVERS: Final[Mapping[str, ServerStart]] = {
    "serve": ServerStart(command=DialectName.TRITON, flags=SERVE_FLAGS, read=read_serve),
    "start": ServerStart(command=DialectName.MLSERVER, flags=START_FLAGS, read=read_start),
}
"""By the name of the subcommand."""


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
        _exit_with(f"mpserve: {error}")


def _redirect_log(settings: Settings) -> None:
    """Put `--log-file` in the place of standard error, which every process of ours inherits."""
    try:
        redirect(settings.log.log_file)
    except OSError as error:
        _exit_with(f"mpserve: --log-file '{settings.log.log_file}': {error.strerror}")


def _exit_with(line: str) -> NoReturn:
    _tell(f"{line}\n", sys.stderr)
    sys.exit(EXIT_CONFIG)


def _tell(text: str, stream: TextIO | None) -> None:
    """Write to a standard stream; Python has none where the process was started without it."""
    if stream is not None:
        stream.write(text)
