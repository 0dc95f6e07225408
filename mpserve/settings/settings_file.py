"""The settings file (`--settings-file`): values of flags as one JSON object, by the flags' names.

`{"client-idle-timeout-secs": 60, "load-model": ["a", "b"]}`. A running server reads it again when
it is told to (`change`), so what may change while it runs belongs here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mpserve.errors import ConfigError
from mpserve.settings.environment import Chosen
from mpserve.settings.flags import Flag
from mpserve.settings.values import BadValue

FLAG: Final = "settings-file"
_Scalar = str | int | float | bool


def read_settings_file(path: str, flags: Sequence[Flag]) -> Chosen:
    """Return the values of flags that the file holds.

    Raises
    ------
    ConfigError
        Names the file and the flag, and says what is wrong.
    """
    by_name = {flag.name: flag for flag in flags}
    chosen: Chosen = {}
    for name, value in _members(path).items():
        flag = by_name.get(name)
        if flag is None or name == FLAG:
            raise ConfigError(
                f"{path}: '{name}' is no flag of this command that a file may hold; use names "
                "as in --help, without the dashes before them"
            )
        if isinstance(value, list) and not flag.repeatable:
            raise ConfigError(f"{path}: {name}: one value is needed, not a list")
        texts = tuple(map(_text, value if isinstance(value, list) else [value]))
        if any("\0" in text for text in texts):  # no command line could hold it either
            raise ConfigError(f"{path}: {name}: the character U+0000 can not be used")
        try:
            chosen[name] = flag.read_all(texts)
        except BadValue as error:
            raise ConfigError(f"{path}: {name}: {error}") from error
    return chosen


def _members(path: str) -> Mapping[str, _Scalar | list[_Scalar]]:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, _Scalar | list[_Scalar]])
    except OSError as error:
        raise ConfigError(f"--{FLAG} '{path}' can not be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"{path}: no JSON object of flags and their values (text, number, true, false or a "
            f"list of them): {error}"
        ) from error


def _text(value: _Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
