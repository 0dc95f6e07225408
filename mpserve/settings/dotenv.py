"""`.env` of the working directory: variables of MLServer that the environment does not have.

Source: what MLServer 1.7.1 reads, by python-dotenv's rules: `export`, comments, quotes. A value is
taken as it stands: `${NAME}` is not filled in, and refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mpserve.errors import ConfigError

DOTENV_FILE: Final = ".env"
_PREFIX: Final = "MLSERVER_"
_LINE: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<rest>.*)")
_QUOTED: Final = re.compile(
    r"(?P<quote>['\"])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*(#.*)?"
)
_COMMENT: Final = re.compile(r"\s+#.*|^#.*")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def with_dotenv(environment: Mapping[str, str], *, folder: Path) -> dict[str, str]:
    """Return the environment with what the file in a folder says of variables it does not have.

    Raises
    ------
    ConfigError
        Names the line that can not be read.
    """
    path = folder / DOTENV_FILE
    if not path.is_file():
        return dict(environment)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return {**parse_dotenv(text, path=str(path)), **environment}


def parse_dotenv(text: str, *, path: str) -> dict[str, str]:
    """Return the variables of MLServer in a text, by names in capitals; others are passed over."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is not None and match["name"].upper().startswith(_PREFIX):
            found[match["name"].upper()] = _value(match["rest"], where=f"{path}:{number}")
    return found


def _value(rest: str, *, where: str) -> str:
    quoted = _QUOTED.fullmatch(rest)
    if quoted is not None:
        value = _unescaped(quoted["text"], quote=quoted["quote"])
    elif rest.startswith(("'", '"')):
        raise ConfigError(f"{where}: the quotation is not closed, or something follows it")
    else:
        value = _COMMENT.sub("", rest).rstrip()
    if "${" in value:
        raise ConfigError(f"{where}: ${{…}} is not filled in, write the value itself")
    return value


def _unescaped(text: str, *, quote: str) -> str:
    r"""In single quotes `\'` and `\\` alone are escapes."""

    def replaced(match: re.Match[str]) -> str:
        escaped = match[1]
        if quote == '"':
            return _ESCAPES.get(escaped, escaped)
        return escaped if escaped in {"'", "\\"} else match[0]

    return re.sub(r"\\(.)", replaced, text)
