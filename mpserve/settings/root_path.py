"""The path that a proxy in front shows the server under: MLServer's `root_path`."""

import re
from typing import Final

from mpserve.settings.values import BadValue

_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


def read_root_path(raw: object) -> str:
    """Return the path with a slash before it and none behind; "" for none.

    Raises
    ------
    BadValue
        It is no path of a URL.
    """
    if raw is None:
        return ""
    path = "/" + raw.strip("/") if isinstance(raw, str) and raw.strip("/") else ""
    if not isinstance(raw, str) or _PATH.fullmatch(path) is None:
        raise BadValue(f"'{raw}' is no path of a URL, as in /models")
    return path
