"""The server's description of itself: OpenAPI documents, and a page that shows them.

Nothing is loaded from elsewhere: the page works without the Internet. Source: MLServer 1.7.1 as
seen running, for the paths; the documents are ours.
"""

from functools import cache
from typing import Any, Final
from urllib.parse import quote

import orjson

from mpserve.errors import ModelNotFound
from mpserve.frontend.handlers.metadata import MetadataHandler
from mpserve.frontend.http import responses
from mpserve.frontend.http.responses import HttpResponse
from mpserve.frontend.http.routes import Match

HTML: Final = "text/html; charset=utf-8"
DATA_PLANE: Final = "dataplane.json"
MODEL_REPOSITORY: Final = "model_repository.json"
EVERYTHING: Final = "openapi.json"
_FOLDER: Final = "mpserve.frontend.documents"
_SOURCES: Final = b"/*sources*/[]"
_NAME: Final = "{model_name}"
_VERSION: Final = "{model_version}"


class DocumentEndpoints:
    """Documents of the server, and of each model that serves.

    Parameters
    ----------
    root_path
        What stands before the server's paths where clients see them, "" for nothing.
    """

    def __init__(self, *, metadata: MetadataHandler, root_path: str) -> None:
        self._metadata = metadata
        self._root_path = root_path

    def document(self, _: object, __: object, match: Match) -> HttpResponse:
        """Answer with one of the documents, of the whole server or of a model."""
        if not match.model:
            whole = _everything() if match.document == EVERYTHING else _parsed(match.document)
        else:
            self._metadata.model(match.model, match.version)
            whole = _of_model(match.model, match.version)
        if self._root_path:
            whole["servers"] = [{"url": self._root_path}]
        return responses.json_response(orjson.dumps(whole))

    def page(self, _: object, __: object, match: Match) -> HttpResponse:
        """Answer with the page, for the whole server or for a model."""
        sources = [f"/v2/docs/{DATA_PLANE}", f"/v2/docs/{MODEL_REPOSITORY}"]
        if match.model:
            self._metadata.model(match.model, match.version)
            sources = [f"{_place(match.model, match.version)}/docs/{DATA_PLANE}"]
        links = [self._root_path + source for source in sources]
        listed = orjson.dumps(links).replace(b"<", b"\\u003c")  # it stands within a script
        body = _file("page.html").replace(_SOURCES, listed)
        return HttpResponse(status=200, content_type=HTML, body=(body,))


@cache
def _file(name: str) -> bytes:
    from importlib import resources  # noqa: PLC0415  # no frontend needs it to be ready

    path = resources.files(_FOLDER) / name
    if not path.is_file():
        raise ModelNotFound(f"there is no document '{name}'")
    return path.read_bytes()


def _parsed(name: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(_file(name))
    return document


def _everything() -> dict[str, Any]:
    """Return all that is served as one document."""
    first, second = _parsed(DATA_PLANE), _parsed(MODEL_REPOSITORY)
    parts = {
        kind: {**first["components"].get(kind, {}), **second["components"].get(kind, {})}
        for kind in first["components"] | second["components"]
    }
    return {
        **first,
        "info": {**first["info"], "title": "Data Plane and Model Repository"},
        "tags": first["tags"] + second["tags"],
        "paths": first["paths"] | second["paths"],
        "components": parts,
    }


def _place(model: str, version: str) -> str:
    place = f"/v2/models/{quote(model, safe='')}"
    return f"{place}/versions/{quote(version, safe='')}" if version else place


def _of_model(model: str, version: str) -> dict[str, Any]:
    """Return the document with the paths of one model only, its name filled in."""
    whole = _parsed(DATA_PLANE)
    prefix = _place(_NAME, _VERSION if version else "").replace("%7B", "{").replace("%7D", "}")
    found = {}
    for path, methods in whole["paths"].items():
        rest = path.removeprefix(prefix)
        if path.startswith(prefix) and not rest.startswith("/versions/"):
            for method in methods.values():
                method.pop("parameters", None)
            found[_place(model, version) + rest] = methods
    whole["paths"] = found
    whole["components"].pop("parameters")
    whole["info"]["title"] += f" of {model}" + (f" ({version})" if version else "")
    return whole
