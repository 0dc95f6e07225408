"""What the environment and MLServer's `settings.json` say, as values of flags.

Nothing here reads `os.environ`: the mapping is handed in by the command.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from mpserve.errors import ConfigError
from mpserve.model.logging_setup import LoggingSetup
from mpserve.settings.cors import CorsSettings, read_cors
from mpserve.settings.flags import Flag, Standing, Value
from mpserve.settings.logging_settings import read_logging
from mpserve.settings.mlserver_fields import (
    BY_NAME,
    MLSERVER_FIELDS,
    MLServerField,
    Raw,
    read_bool,
    read_count,
    read_metric_name,
    read_text,
    read_words,
)
from mpserve.settings.root_path import read_root_path
from mpserve.settings.values import BadValue

SETTINGS_FILE: Final = "settings.json"
MODEL_PREFIX: Final = "MLSERVER_MODEL_"
Chosen = dict[str, tuple[Value, ...]]
"""Flag name -> the values it was given."""


class MLServerChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What MLServer's settings say.

    Attributes
    ----------
    chosen
        Values of flags.
    server_version, extensions, metrics_http_prefix
        `None` when not said.
    cors
        `None` for no CORS.
    compresses
        Answers are compressed for clients that ask for it.
    warnings
        Fields that were set and change nothing.
    """

    chosen: Chosen = {}
    server_version: str | None = None
    extensions: tuple[str, ...] | None = None
    load_models_at_startup: bool = True
    parallel_workers: int = 1
    metrics_http_prefix: str | None = None
    cors: CorsSettings | None = None
    root_path: str = ""
    logging: LoggingSetup = LoggingSetup()
    compresses: bool = True
    warnings: tuple[str, ...] = ()


def read_environment(flags: Sequence[Flag], environment: Mapping[str, str]) -> Chosen:
    """Return the values of `MPSERVE_<FLAG>`; a repeatable flag holds them with commas between.

    Raises
    ------
    ConfigError
        Names the variable and says what is wrong with its text.
    """
    chosen: Chosen = {}
    for flag in flags:
        text = environment.get(flag.environment_name)
        if text is None or flag.standing is not Standing.ACTS:
            continue
        texts = flag.split(text) if flag.repeatable else (text,)
        try:
            chosen[flag.name] = flag.read_all(texts)
        except BadValue as error:
            raise ConfigError(f"{flag.environment_name}: {error}") from error
    return chosen


def model_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that fill gaps of `model-settings.json`, in capitals."""
    upper = {name.upper(): text for name, text in environment.items()}
    return {name: text for name, text in upper.items() if name.startswith(MODEL_PREFIX)}


def read_mlserver(folder: Path, environment: Mapping[str, str]) -> MLServerChoice:
    """Return what `settings.json` of `folder` and, where it is silent, `MLSERVER_*` say.

    The file goes first, as with the peer (1.7.1), whose members of a file are arguments of its
    settings.

    Raises
    ------
    ConfigError
        Names the variable or file, and says what is wrong.
    """
    upper = {name.upper(): text for name, text in environment.items()}
    members = _read_file(folder / SETTINGS_FILE)
    raws: dict[str, tuple[str, Raw]] = {}
    warnings = [
        f"{SETTINGS_FILE}: '{name}' is no setting of the server"
        for name in members
        if name not in BY_NAME
    ]
    for field in MLSERVER_FIELDS:
        if field.name in members:
            raws[field.name] = (f"{SETTINGS_FILE}: {field.name}", members[field.name])
        elif field.environment_name in upper:
            raws[field.name] = (field.environment_name, upper[field.environment_name])
    warnings += [
        f"{where} changes nothing: {BY_NAME[name].reason}"
        for name, (where, _) in raws.items()
        if BY_NAME[name].standing is Standing.NO_EFFECT
    ]
    choice = _interpret(raws, environment=upper, warnings=tuple(warnings))
    # As the peer, which puts both before all else that Python looks through.
    folders = (str(folder.absolute()), str(Path.cwd()))
    logging = msgspec.structs.replace(choice.logging, folders=folders)
    return msgspec.structs.replace(choice, logging=logging) if logging.is_set else choice


def _interpret(
    raws: Mapping[str, tuple[str, Raw]],
    *,
    environment: Mapping[str, str],
    warnings: tuple[str, ...],
) -> MLServerChoice:
    chosen: Chosen = {}
    read: dict[str, Any] = {}
    for name, (where, raw) in raws.items():
        try:
            chosen.update(_flag_value(BY_NAME[name], raw))
            own = _WITHOUT_FLAG.get(name)
            if own is not None:
                read[own.attribute] = own.read(raw)
            elif name == "cors_settings":
                read["cors"] = read_cors(raw, environment)
        except BadValue as error:
            raise ConfigError(f"{where}: {error}") from error
    return MLServerChoice(chosen=chosen, warnings=warnings, **read)


class _WithoutFlag(NamedTuple):
    """An attribute of `MLServerChoice`, and how its value is read."""

    attribute: str
    read: Callable[[Raw], object]


_WITHOUT_FLAG: Final = {
    "server_version": _WithoutFlag("server_version", read_text),
    "extensions": _WithoutFlag("extensions", read_words),
    "load_models_at_startup": _WithoutFlag("load_models_at_startup", read_bool),
    "parallel_workers": _WithoutFlag("parallel_workers", read_count),
    "metrics_rest_server_prefix": _WithoutFlag("metrics_http_prefix", read_metric_name),
    "root_path": _WithoutFlag("root_path", read_root_path),
    "logging_settings": _WithoutFlag("logging", read_logging),
    "gzip_enabled": _WithoutFlag("compresses", read_bool),
}


def _flag_value(field: MLServerField, raw: Raw) -> Chosen:
    field.check(raw)
    if field.read is None:
        return {}
    return {field.flag: (field.read(raw),)}


def _read_file(path: Path) -> dict[str, Raw]:
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Raw])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: no JSON object of settings: {error}") from error
