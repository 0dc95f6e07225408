"""What pages of other origins are told: the headers of answers, and the answers to preflights.

Guarantees: a preflight is answered before anything else is looked at, because browsers send no
secrets with it. An answer without the headers is one that the browser hides from the page.
Source: Fetch standard, "HTTP extensions" of CORS; texts as MLServer 1.7.1 answers.
"""

import re
from http import HTTPStatus
from typing import Final

from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.responses import Header, HttpResponse
from mpserve.settings import WILDCARD, CorsSettings

TEXT: Final = "text/plain; charset=utf-8"
_ALWAYS_ALLOWED: Final = ("Accept", "Accept-Language", "Content-Language", "Content-Type")
_VARY: Final = (b"Vary", b"Origin")


class Cors:
    """Answers to pages of other origins."""

    def __init__(self, settings: CorsSettings) -> None:
        self._settings = settings
        self._allows_all = WILDCARD in settings.allow_origins
        self._origin = re.compile(settings.allow_origin_regex or r"(?!)")
        self._headers = {
            name.lower() for name in (*_ALWAYS_ALLOWED, *settings.allow_headers)
        }  # fmt: skip

    def preflight(self, method: str, http: HttpRequest) -> HttpResponse | None:
        """Return the answer to a browser that asks beforehand; `None` for any other request."""
        wanted = http.header(b"access-control-request-method")
        origin = http.header(b"origin")
        if method != "OPTIONS" or wanted is None or origin is None:
            return None
        asked = http.header(b"access-control-request-headers")
        faults = [
            fault
            for fault, is_one in (
                ("origin", not self._allows(origin)),
                ("method", wanted not in self._settings.methods),
                ("headers", not self._allows_headers(asked)),
            )
            if is_one
        ]
        text = "Disallowed CORS " + ", ".join(faults) if faults else "OK"
        return HttpResponse(
            status=HTTPStatus.BAD_REQUEST if faults else HTTPStatus.OK,
            content_type=TEXT,
            body=(text.encode(),),
            headers=tuple(self._of_preflight(origin, asked)),
        )

    def headers(self, http: HttpRequest) -> list[Header]:
        """Return what the answer to a request is told with; nothing where no page asked."""
        origin = http.header(b"origin")
        if origin is None:
            return []
        settings = self._settings
        found: list[Header] = []
        if self._allows_all and http.header(b"cookie") is None:
            found.append(_allowed(WILDCARD))
        elif self._allows(origin):
            found += [_allowed(origin), _VARY]
        if settings.allow_credentials:
            found.append((b"Access-Control-Allow-Credentials", b"true"))
        if settings.expose_headers:
            names = ", ".join(settings.expose_headers)
            found.append((b"Access-Control-Expose-Headers", names.encode()))
        return found

    def _of_preflight(self, origin: str, asked: str | None) -> list[Header]:
        settings = self._settings
        found = [
            (b"Access-Control-Allow-Methods", ", ".join(settings.methods).encode()),
            (b"Access-Control-Max-Age", str(settings.max_age).encode()),
        ]
        if self._allows_all and not settings.allow_credentials:
            found.append(_allowed(WILDCARD))
        else:
            found.append(_VARY)
            if self._allows(origin):
                found.append(_allowed(origin))
        if WILDCARD not in settings.allow_headers:
            names = sorted({*_ALWAYS_ALLOWED, *settings.allow_headers})
            found.append((b"Access-Control-Allow-Headers", ", ".join(names).encode()))
        elif asked is not None:
            found.append((b"Access-Control-Allow-Headers", asked.encode("latin-1")))
        if settings.allow_credentials:
            found.append((b"Access-Control-Allow-Credentials", b"true"))
        return found

    def _allows(self, origin: str) -> bool:
        return (
            self._allows_all
            or origin in self._settings.allow_origins
            or self._origin.fullmatch(origin) is not None
        )

    def _allows_headers(self, asked: str | None) -> bool:
        if asked is None or WILDCARD in self._settings.allow_headers:
            return True
        return all(name.strip().lower() in self._headers for name in asked.split(","))


def _allowed(origin: str) -> Header:
    return (b"Access-Control-Allow-Origin", origin.encode("latin-1"))
