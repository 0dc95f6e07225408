"""Which pages of other origins a browser may let call the server: MLServer's `cors_settings`.

Source: fields, types and defaults as MLServer 1.7.1 declares them; each gap of the object is filled
from `MLSERVER_<FIELD>`, as the peer does it.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from mpserve.settings.values import BadValue

_PREFIX: Final = "MLSERVER_"
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
WILDCARD: Final = "*"


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What pages of other origins may do.

    Attributes
    ----------
    allow_origins
        Origins as browsers send them, `*` for all.
    allow_origin_regex
        Python's regular expression that a whole origin may match instead; `None` for none.
    allow_credentials
        Browsers may send cookies and authorization.
    allow_methods, allow_headers
        What requests may use, `*` for all; the headers in addition to what every page may send.
    expose_headers
        Headers of answers that the page may read.
    max_age
        Seconds that a browser may remember it for.
    """

    allow_origins: tuple[str, ...] = ()
    allow_origin_regex: str | None = None
    allow_credentials: bool = False
    allow_methods: tuple[str, ...] = ("GET",)
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int = 600

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods by name."""
        return _METHODS if WILDCARD in self.allow_methods else self.allow_methods


def read_cors(raw: object, environment: Mapping[str, str]) -> CorsSettings | None:
    """Return what the member `cors_settings` says, or JSON text of it; `None` for no CORS.

    Parameters
    ----------
    environment
        Variables by their names in capitals.

    Raises
    ------
    BadValue
        Says which field can not be used, and why.
    """
    if raw is None or raw == "":
        return None
    members = _members(raw)
    for name in CorsSettings.__struct_fields__:
        text = environment.get(_PREFIX + name.upper())
        if name not in members and text is not None:
            members[name] = _of_variable(name, text)
    given = {name: value for name, value in members.items() if value is not None}
    try:
        found = msgspec.convert(given, CorsSettings, strict=False)
    except msgspec.ValidationError as error:
        raise BadValue(f"{error}; see cors_settings of MLServer") from error
    _check(found)
    return found


def _members(raw: object) -> dict[str, object]:
    try:
        if isinstance(raw, str):
            return msgspec.json.decode(raw, type=dict[str, object])
        return msgspec.convert(raw, dict[str, object])
    except msgspec.MsgspecError as error:
        raise BadValue(f"'{raw}' is no JSON object of CORS settings") from error


def _of_variable(name: str, text: str) -> object:
    """Return the value of a variable; lists stand in it as JSON."""
    if not isinstance(CorsSettings.__struct_defaults__[_index(name)], tuple):
        return text
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise BadValue(f"{_PREFIX}{name.upper()}: '{text}' is no JSON list of texts") from error


def _index(name: str) -> int:
    return CorsSettings.__struct_fields__.index(name)


def _check(cors: CorsSettings) -> None:
    """Refuse what can not stand in a header."""
    for name in ("allow_methods", "allow_headers", "expose_headers"):
        for text in getattr(cors, name):
            if _TOKEN.fullmatch(text) is None:
                raise BadValue(f"{name}: '{text}' is no name of a method or header")
    for origin in cors.allow_origins:
        if not (origin.isascii() and origin.isprintable()) or " " in origin:
            raise BadValue(f"allow_origins: '{origin}' is no origin, as in https://example.org")
    try:
        re.compile(cors.allow_origin_regex or "")
    except re.error as error:
        raise BadValue(f"allow_origin_regex: '{cors.allow_origin_regex}': {error}") from error
