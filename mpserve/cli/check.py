"""`mpserve check REPOSITORY...`: what is wrong with model repositories, without a server."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

if TYPE_CHECKING:
    from mpserve.repository.inspection import Finding, Inspection

FORMATS: Final = ("text", "json")
DIALECTS: Final = ("triton", "mlserver")
EXIT_FAULTY: Final = 1


@click.command()
@click.argument("repositories", metavar="REPOSITORY...", nargs=-1, required=True)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    default=DIALECTS[0],
    show_default=True,
    help="Read it as `mpserve serve` (triton) or `mpserve start` (mlserver) would.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="Lines or, at a terminal, a table; or one JSON object.",
)
@click.option("--model-config-name", default="", help="Custom configuration, as for `serve`.")
@click.option(
    "--strict",
    is_flag=True,
    help="Demand complete configurations, as `serve --disable-auto-complete-config` does.",
)
def check(
    repositories: tuple[str, ...],
    *,
    dialect: str,
    output_format: str,
    model_config_name: str,
    strict: bool,
) -> None:
    """Validate model repositories offline; exit code 1 when a model can not be served.

    Reads every model and every configuration, looks for the files that the runtimes would load, and
    parses Python models. Nothing is loaded or executed.
    """
    # Imported late: `mpserve --help` must not pay for it.
    from mpserve.cli.findings import print_lines, print_table  # noqa: PLC0415
    from mpserve.repository.inspection import Severity  # noqa: PLC0415
    from mpserve.settings.formats import check_local  # noqa: PLC0415
    from mpserve.settings.values import BadValue  # noqa: PLC0415

    try:
        check_local(repositories)
    except BadValue as error:
        raise click.BadParameter(str(error), param_hint="REPOSITORY") from error
    roots = tuple(os.path.abspath(path) for path in repositories)  # noqa: PTH100  # links are kept
    found = _inspect(roots, dialect=dialect, config_name=model_config_name, strict=strict)
    if output_format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(_report(found, roots))).decode())
    elif sys.stdout.isatty():
        print_table(found)
    else:
        print_lines(found)
    if found.count(Severity.ERROR):
        sys.exit(EXIT_FAULTY)


def _report(found: "Inspection", roots: tuple[str, ...]) -> dict[str, object]:
    """Return what `--format json` prints."""
    from mpserve.repository.inspection import Severity  # noqa: PLC0415  # quick start

    return {
        "repositories": roots,
        "errors": found.count(Severity.ERROR),
        "warnings": found.count(Severity.WARNING),
        "models": found.models,
        "findings": found.findings,
    }


def _inspect(
    roots: tuple[str, ...], *, dialect: str, config_name: str, strict: bool
) -> "Inspection":
    from mpserve.cli.config_refusals import config_refusals  # noqa: PLC0415  # quick start
    from mpserve.cli.model_files import missing_files  # noqa: PLC0415
    from mpserve.model.definition import ConfigFormat  # noqa: PLC0415
    from mpserve.repository import ScanOptions  # noqa: PLC0415
    from mpserve.repository.inspection import RuntimeChecks, inspect  # noqa: PLC0415
    from mpserve.settings.environment import model_environment  # noqa: PLC0415

    options = ScanOptions(
        format=ConfigFormat(dialect),
        auto_complete=not strict,
        config_name=config_name,
        environment=model_environment(_environment(dialect)),
        parallel_workers=_parallel_workers(Path(roots[0]), dialect=dialect),
    )
    checks = RuntimeChecks(files=missing_files, config=config_refusals)
    found = inspect(roots, options, checks=checks)
    if options.format is not ConfigFormat.MLSERVER:
        return found
    settings = tuple(finding for root in roots for finding in _server_settings(root))
    return msgspec.structs.replace(found, findings=(*settings, *found.findings))


def _environment(dialect: str) -> dict[str, str]:
    """Return the environment as the server of that dialect would see it."""
    from mpserve.errors import ConfigError  # noqa: PLC0415  # quick start
    from mpserve.settings.dotenv import with_dotenv  # noqa: PLC0415

    if dialect != "mlserver":
        return dict(os.environ)
    try:
        return with_dotenv(os.environ, folder=Path())
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _parallel_workers(folder: Path, *, dialect: str) -> int:
    """Return what `mpserve start FOLDER` would take; faults of the file are told elsewhere."""
    from mpserve.errors import ConfigError  # noqa: PLC0415  # quick start
    from mpserve.settings.environment import MLServerChoice, read_mlserver  # noqa: PLC0415

    choice = MLServerChoice()
    if dialect == "mlserver":
        with contextlib.suppress(ConfigError):
            choice = read_mlserver(folder, _environment(dialect))
    return choice.parallel_workers


def _server_settings(root: str) -> "tuple[Finding, ...]":
    """Read `settings.json` of a repository as `mpserve start` would."""
    from mpserve.errors import ConfigError  # noqa: PLC0415  # quick start
    from mpserve.repository.inspection import Finding, Severity  # noqa: PLC0415
    from mpserve.repository.layout import SERVER_SETTINGS_FILE  # noqa: PLC0415
    from mpserve.repository.text_place import line_of  # noqa: PLC0415
    from mpserve.settings.environment import read_mlserver  # noqa: PLC0415

    path = Path(root, SERVER_SETTINGS_FILE)
    if not path.is_file():
        return ()
    severity = Severity.WARNING
    messages: tuple[str, ...]
    try:
        messages = read_mlserver(Path(root), {}).warnings
    except ConfigError as error:
        severity = Severity.ERROR
        messages = (str(error),)
    text = path.read_text("utf-8", errors="replace")
    return tuple(
        Finding(
            severity=severity,
            model="",
            path=str(path),
            line=line_of(message, text=text),
            message=message,
        )
        for message in messages
    )
