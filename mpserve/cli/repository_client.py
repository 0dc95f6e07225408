"""Client of a running server's repository API, over `http.client`: no dependency, quick to import.

Speaks to any server of the V2 model repository extension.
"""

import http.client
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from mpserve.errors import ConfigError
from mpserve.model.event import EventPage

OK: Final = 200


class CallFailed(Exception):  # as the exceptions of `errors.py`
    """The server refused a call, or could not be reached. The message says which and why."""


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the repository index, as it comes over the wire."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class RepositoryClient:
    """Calls one server. Each call has a connection of its own, closed when it returns."""

    def __init__(self, *, url: str, timeout_secs: float) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.scheme not in _CONNECTIONS or not parts.hostname:
            raise ConfigError(f"'{url}' is no http:// or https:// address of a server")
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._connection_class = _CONNECTIONS[parts.scheme]
        self._host = parts.netloc
        self._timeout_secs = timeout_secs

    def index(self) -> list[IndexEntry]:
        """Return the rows of the repository index."""
        body = self._post("/v2/repository/index")
        try:
            return msgspec.json.decode(body, type=list[IndexEntry])
        except msgspec.MsgspecError as error:
            raise CallFailed(f"{self._url}: the answer is no repository index: {error}") from error

    def events(self, *, model: str = "", since: int = 0) -> EventPage:
        """Return the events after a number, of one model or ("") of all; mpserve's own route."""
        query = {"since": str(since)} | ({"model": model} if model else {})
        body = self._call("GET", f"/v2/repository/events?{urlencode(query)}", None)
        try:
            return msgspec.json.decode(body, type=EventPage)
        except msgspec.MsgspecError as error:
            raise CallFailed(f"{self._url}: the answer is no list of events: {error}") from error

    def load(self, name: str) -> None:
        """Load a model and wait until it is ready."""
        self._post(f"/v2/repository/models/{quote(name, safe='')}/load")

    def unload(self, name: str) -> None:
        """Unload a model."""
        self._post(f"/v2/repository/models/{quote(name, safe='')}/unload")

    def _post(self, path: str) -> bytes:
        return self._call("POST", path, b"{}")

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        connection = self._connection_class(self._host, timeout=self._timeout_secs)
        try:
            connection.request(
                method, self._prefix + path, body, {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(f"{self._url}: no answer: {error}") from error
        finally:
            connection.close()
        if response.status != OK:
            raise CallFailed(f"{self._url}: {response.status} {_reason(answer)}")
        return answer


_CONNECTIONS: Final[dict[str, type[http.client.HTTPConnection]]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


class _ErrorBody(msgspec.Struct):
    error: str


def _reason(body: bytes) -> str:
    """Return the message of an error answer, else the answer itself, shortened."""
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error.strip()
    except msgspec.MsgspecError:
        return body[:300].decode(errors="replace")
