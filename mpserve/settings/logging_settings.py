"""How Python's `logging` is set up in every process: MLServer's `logging_settings`."""

from pathlib import Path
from typing import Final

import msgspec

from mpserve.model.logging_setup import LoggingSetup
from mpserve.settings.values import BadValue

_JSON: Final = ".json"


def read_logging(raw: object) -> LoggingSetup:
    """Return what the member `logging_settings` says.

    Parameters
    ----------
    raw
        Path of a file (JSON by its suffix, else as `fileConfig` has it), an object, or JSON of one.

    Raises
    ------
    BadValue
        There is no such file, or no object in it.
    """
    if raw is None or raw == "":
        return LoggingSetup()
    if not isinstance(raw, str):
        return LoggingSetup(config_json=_checked(msgspec.json.encode(raw), "it"))
    if raw.lstrip().startswith("{"):
        return LoggingSetup(config_json=_checked(raw.encode(), "it"))
    path = Path(raw)
    if not path.is_file():
        raise BadValue(f"there is no file '{raw}'")
    if _JSON in path.suffix:
        return LoggingSetup(config_json=_checked(_bytes_of(path), f"'{raw}'"))
    return LoggingSetup(ini_path=str(path.absolute()))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadValue(f"'{path}' can not be read: {error.strerror}") from error


def _checked(text: bytes, what: str) -> str:
    try:
        return msgspec.json.encode(msgspec.json.decode(text, type=dict[str, object])).decode()
    except msgspec.MsgspecError as error:
        raise BadValue(f"{what} holds no JSON object, as dictConfig takes it: {error}") from error
