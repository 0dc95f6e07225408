"""Command line, environment and file read into checked `Settings`.

Precedence: flag, `MPSERVE_*`, `--settings-file`; for `mpserve start` then `settings.json`,
`MLSERVER_*`, those of `.env`; default of the command's dialect.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mpserve.dialect import DialectName
from mpserve.settings.arguments import Arguments, UsageError, sort_arguments
from mpserve.settings.assembly import assemble
from mpserve.settings.dotenv import with_dotenv
from mpserve.settings.environment import (
    Chosen,
    MLServerChoice,
    model_environment,
    read_environment,
    read_mlserver,
)
from mpserve.settings.extras import check_spans, without_absent
from mpserve.settings.flags import Flag, Group, Standing
from mpserve.settings.flags_acting import ACTING
from mpserve.settings.flags_inert import INERT
from mpserve.settings.settings import Settings
from mpserve.settings.settings_file import FLAG as SETTINGS_FILE_FLAG
from mpserve.settings.settings_file import read_settings_file
from mpserve.settings.trace_config import with_environment
from mpserve.settings.validation import check_creation, check_usage, warnings_about
from mpserve.settings.values import BadValue

_GROUPS: Final = tuple(Group)
SERVE_FLAGS: Final = tuple(sorted((*ACTING, *INERT), key=lambda flag: _GROUPS.index(flag.group)))
START_FLAGS: Final = ACTING


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, and what the operator should know about them."""

    settings: Settings
    warnings: tuple[str, ...]


def read_serve(
    arguments: Sequence[str], *, environment: Mapping[str, str], version: str
) -> Reading:
    """Read the command line of `mpserve serve`.

    Raises
    ------
    HelpWanted
        `--help` was given.
    UsageError, CreationError, ConfigError
        The message says which flag or variable, and what is wrong with it.
    """
    given = sort_arguments(arguments, flags=SERVE_FLAGS)
    if given.words:
        raise UsageError(f"Unexpected argument: {given.words[0]}")
    return _read(
        DialectName.TRITON,
        given,
        flags=SERVE_FLAGS,
        environment=environment,
        mlserver=MLServerChoice(),
        version=version,
    )


def read_start(
    arguments: Sequence[str], *, environment: Mapping[str, str], version: str
) -> Reading:
    """Read the command line of `mpserve start FOLDER`; raises as `read_serve`."""
    given = sort_arguments(arguments, flags=START_FLAGS)
    if len(given.words) != 1:
        raise UsageError(f"one FOLDER is needed, {len(given.words)} were given")
    folder = Path(given.words[0])
    if not given.words[0] or not folder.is_dir():  # `Path("")` is the working directory
        raise UsageError(f"FOLDER '{given.words[0]}' is not a directory")
    roots = (given.words[0], *given.texts.get("model-repository", ()))
    environment = with_dotenv(environment, folder=Path())
    with_folder = Arguments(texts={**given.texts, "model-repository": roots}, words=())
    return _read(
        DialectName.MLSERVER,
        with_folder,
        flags=START_FLAGS,
        environment=environment,
        mlserver=read_mlserver(folder, environment),
        version=version,
    )


def _read(
    command: DialectName,
    given: Arguments,
    *,
    flags: Sequence[Flag],
    environment: Mapping[str, str],
    mlserver: MLServerChoice,
    version: str,
) -> Reading:
    from_flags = {
        flag.name: _read_flag(flag, given.texts[flag.name])
        for flag in flags
        if flag.name in given.texts
    }
    said: Chosen = {**read_environment(flags, environment), **from_flags}
    path = str(said.get(SETTINGS_FILE_FLAG, ("",))[-1])
    if path:
        said = {**read_settings_file(path, flags), **said}
    settings = assemble(
        command, {**mlserver.chosen, **said}, flags=flags, mlserver=mlserver, version=version
    )
    settings = msgspec.structs.replace(
        settings,
        model_environment=model_environment(environment),
        span_export=with_environment(
            settings.span_export, environment, said=map(str, said.get("trace-config", ()))
        ),
    )
    check_usage(settings, said)
    check_creation(settings)
    settings, absent = without_absent(settings, said)
    check_spans(settings)
    idle = tuple(
        f"--{flag.name} changes nothing: {flag.reason}"
        for flag in flags
        if flag.name in from_flags and flag.standing is Standing.NO_EFFECT
    )
    return Reading(
        settings=settings,
        warnings=(*warnings_about(settings, said), *absent, *mlserver.warnings, *idle),
    )


def _read_flag(flag: Flag, texts: tuple[str, ...]) -> tuple[str | int | float | bool, ...]:
    try:
        return flag.read_all(texts)
    except BadValue as error:
        option = f"--{flag.name} {error.detail}".rstrip()
        raise UsageError(f'Bad option: "{option}".\n{error}') from error
