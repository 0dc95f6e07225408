"""Paths and methods of the HTTP protocol, as a table per dialect.

A path is matched as a whole, without its query; the method is looked at after the path, so that a
known path with another method is 405. Triton takes names as they stand, MLServer percent-decodes.

Source: Triton's HTTP frontend (its patterns, in its order); MLServer 1.7.1 as seen running.
"""

import enum
import re
from collections.abc import Callable
from functools import cache
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from mpserve.dialect import DialectName
from mpserve.frontend.handlers.version import any_version, version_number


class Endpoint(enum.Enum):
    """What a route leads to."""

    LIVE = "live"
    READY = "ready"
    MODEL_READY = "model_ready"
    SERVER_METADATA = "server_metadata"
    MODEL_METADATA = "model_metadata"
    MODEL_CONFIG = "model_config"
    STATISTICS = "statistics"
    INFER = "infer"
    INFER_STREAM = "infer_stream"
    GENERATE = "generate"
    GENERATE_STREAM = "generate_stream"
    INDEX = "index"
    LOAD = "load"
    UNLOAD = "unload"
    EVENTS = "events"
    TRACE = "trace"
    LOGGING = "logging"
    SYSTEM_REGION_STATUS = "system_region_status"
    SYSTEM_REGION_REGISTER = "system_region_register"
    SYSTEM_REGION_UNREGISTER = "system_region_unregister"
    CUDA_REGION_STATUS = "cuda_region_status"
    CUDA_REGION_REGISTER = "cuda_region_register"
    CUDA_REGION_UNREGISTER = "cuda_region_unregister"
    DOCUMENT = "document"
    DOCUMENT_PAGE = "document_page"
    HANDLER = "handler"
    """A path of a model's own; in no table."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A path that is known.

    Attributes
    ----------
    method
        The only one that is allowed, but for `other_method`.
    model, version, repository, region, document
        Parts of the path, "" where it has none; the version as sent (`checked_version`).
    counted_route
        The path with its variable parts named, as the metrics tell it; "" where it is not counted.
    """

    endpoint: Endpoint
    method: str
    other_method: str = ""
    model: str = ""
    version: str = ""
    repository: str = ""
    region: str = ""
    document: str = ""
    counted_route: str = ""

    @property
    def allowed(self) -> str:
        """Methods that are allowed, as the header `Allow` names them."""
        return ", ".join(filter(None, (self.method, self.other_method)))


class _Route(msgspec.Struct, frozen=True, kw_only=True):
    pattern: bytes
    method: str
    other_method: str
    endpoint: Endpoint


class RouteTable(msgspec.Struct, frozen=True, kw_only=True):
    """Routes of one dialect, the first that matches counts.

    Attributes
    ----------
    decode_name
        Bytes of a path's part -> name.
    check_version
        Version as sent -> version as the routing table has it; raises `InvalidRequest`.
    counts
        The metrics tell of requests by route.
    """

    routes: tuple[_Route, ...]
    decode_name: Callable[[bytes], str]
    check_version: Callable[[str], str]
    counts: bool = False

    def match(self, target: bytes) -> Match | None:
        """Return what the path of a request target leads to; `None` for an unknown path."""
        path = target.partition(b"?")[0]
        for route in self.routes:
            found = _compiled(route.pattern).fullmatch(path)
            if found is not None:
                parts = {
                    name: self.decode_name(part) for name, part in found.groupdict(b"").items()
                }
                return Match(
                    endpoint=route.endpoint,
                    method=route.method,
                    other_method=route.other_method,
                    counted_route=_counted_route(route, found) if self.counts else "",
                    **parts,
                )
        return None


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Compile when first needed: all patterns of all dialects take 2 ms, and few are ever used."""
    return re.compile(pattern)


def _counted_route(route: _Route, found: re.Match[bytes]) -> str:
    """Return the path with its variable parts named as MLServer names them."""
    if route.endpoint in _UNCOUNTED:
        return ""
    path = found.string
    for part, name in _NAMED_PARTS:  # from the end, so that places stay right
        if found.groupdict().get(part):
            start, end = found.span(part)
            path = path[:start] + name + path[end:]
    return path.decode("latin-1")


_UNCOUNTED: Final = frozenset((Endpoint.LIVE, Endpoint.READY))
_NAMED_PARTS: Final = (("version", b"{model_version}"), ("model", b"{model_name}"))
INFER_ROUTE: Final = "/v2/models/{model_name}/infer"
VERSIONED_INFER_ROUTE: Final = "/v2/models/{model_name}/versions/{model_version}/infer"


def _name_as_sent(part: bytes) -> str:
    return part.decode("utf-8", "replace")


def _decoded_name(part: bytes) -> str:
    return unquote_to_bytes(part).decode("utf-8", "replace")


_TRITON_VERSION: Final = rb"(?:/versions/(?P<version>[0-9]+))?"
_MLSERVER_VERSION: Final = rb"(?:/versions/(?P<version>[^/]+))?"
_MODEL: Final = rb"/v2/models/(?P<model>[^/]+)"


def _route(pattern: bytes, method: str, endpoint: Endpoint, other_method: str = "") -> _Route:
    return _Route(pattern=pattern, method=method, other_method=other_method, endpoint=endpoint)


_HEALTH: Final = (
    _route(rb"/v2/health/live", "GET", Endpoint.LIVE),
    _route(rb"/v2/health/ready", "GET", Endpoint.READY),
    _route(rb"/v2", "GET", Endpoint.SERVER_METADATA),
    # mpserve's own
    _route(rb"/v2/repository/events", "GET", Endpoint.EVENTS),
)

_REGION: Final = rb"sharedmemory(?:/region/(?P<region>[^/]+))?"
_REGIONS: Final = (
    _route(rb"/v2/system" + _REGION + rb"/status", "GET", Endpoint.SYSTEM_REGION_STATUS),
    _route(rb"/v2/system" + _REGION + rb"/register", "POST", Endpoint.SYSTEM_REGION_REGISTER),
    _route(rb"/v2/system" + _REGION + rb"/unregister", "POST", Endpoint.SYSTEM_REGION_UNREGISTER),
    _route(rb"/v2/cuda" + _REGION + rb"/status", "GET", Endpoint.CUDA_REGION_STATUS),
    _route(rb"/v2/cuda" + _REGION + rb"/register", "POST", Endpoint.CUDA_REGION_REGISTER),
    _route(rb"/v2/cuda" + _REGION + rb"/unregister", "POST", Endpoint.CUDA_REGION_UNREGISTER),
)

ROUTES: Final = {
    DialectName.TRITON: RouteTable(
        routes=(
            _route(_MODEL + _TRITON_VERSION + rb"/infer", "POST", Endpoint.INFER),
            _route(_MODEL + _TRITON_VERSION + rb"/generate", "POST", Endpoint.GENERATE),
            _route(
                _MODEL + _TRITON_VERSION + rb"/generate_stream", "POST", Endpoint.GENERATE_STREAM
            ),
            _route(_MODEL + _TRITON_VERSION + rb"/ready", "GET", Endpoint.MODEL_READY),
            _route(_MODEL + _TRITON_VERSION + rb"/config", "GET", Endpoint.MODEL_CONFIG),
            # Goes before the metadata of a model of that name, which therefore has none.
            _route(rb"/v2/models/stats", "GET", Endpoint.STATISTICS),
            _route(_MODEL + _TRITON_VERSION + rb"/stats", "GET", Endpoint.STATISTICS),
            _route(_MODEL + rb"/trace/setting", "GET", Endpoint.TRACE, "POST"),
            _route(rb"/v2/trace/setting", "GET", Endpoint.TRACE, "POST"),
            _route(rb"/v2/logging", "GET", Endpoint.LOGGING, "POST"),
            _route(_MODEL + _TRITON_VERSION, "GET", Endpoint.MODEL_METADATA),
            *_HEALTH,
            _route(rb"/v2/repository(?:/(?P<repository>[^/]+))?/index", "POST", Endpoint.INDEX),
            _route(
                rb"/v2/repository(?:/(?P<repository>[^/]+))?/models/(?P<model>[^/]+)/load",
                "POST",
                Endpoint.LOAD,
            ),
            _route(
                rb"/v2/repository(?:/(?P<repository>[^/]+))?/models/(?P<model>[^/]+)/unload",
                "POST",
                Endpoint.UNLOAD,
            ),
            *_REGIONS,
        ),
        decode_name=_name_as_sent,
        check_version=version_number,
    ),
    DialectName.MLSERVER: RouteTable(
        routes=(
            _route(_MODEL + _MLSERVER_VERSION + rb"/(?:infer|generate)", "POST", Endpoint.INFER),
            _route(
                _MODEL + _MLSERVER_VERSION + rb"/(?:infer|generate)_stream",
                "POST",
                Endpoint.INFER_STREAM,
            ),
            _route(_MODEL + _MLSERVER_VERSION + rb"/ready", "GET", Endpoint.MODEL_READY),
            _route(
                rb"/v2/docs/(?P<document>dataplane\.json|model_repository\.json)",
                "GET",
                Endpoint.DOCUMENT,
            ),
            _route(rb"/v2/docs", "GET", Endpoint.DOCUMENT_PAGE),
            _route(rb"/(?P<document>openapi\.json)", "GET", Endpoint.DOCUMENT),
            _route(
                _MODEL + _MLSERVER_VERSION + rb"/docs/(?P<document>dataplane\.json)",
                "GET",
                Endpoint.DOCUMENT,
            ),
            _route(_MODEL + _MLSERVER_VERSION + rb"/docs", "GET", Endpoint.DOCUMENT_PAGE),
            _route(_MODEL + _MLSERVER_VERSION, "GET", Endpoint.MODEL_METADATA),
            *_HEALTH,
            _route(rb"/v2/repository/index", "POST", Endpoint.INDEX),
            _route(rb"/v2/repository/models/(?P<model>[^/]+)/load", "POST", Endpoint.LOAD),
            _route(rb"/v2/repository/models/(?P<model>[^/]+)/unload", "POST", Endpoint.UNLOAD),
        ),
        decode_name=_decoded_name,
        check_version=any_version,
        counts=True,
    ),
}
