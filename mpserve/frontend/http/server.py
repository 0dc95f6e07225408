"""What all HTTP connections of a frontend share: the native configuration and the fixed answers."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from mpserve.codec.cloud_events import Events
from mpserve.codec.http_connection import Exchange, HttpServerConfig
from mpserve.codec.management_json import server_metadata_body
from mpserve.dialect import Dialect, Operation
from mpserve.errors import ErrorCode
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.http import responses
from mpserve.frontend.http.restriction import Restrictions
from mpserve.frontend.http.routes import INFER_ROUTE, VERSIONED_INFER_ROUTE
from mpserve.model.metadata import ServerMetadata
from mpserve.settings import Category, ClientLimits, Settings
from mpserve.shm.dispatcher import Dispatcher

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_HEADER_FIELDS: Final = 128
MAX_PIPELINED: Final = 64  # requests of one connection that wait for their answers

LIVE_PATH: Final = "/v2/health/live"
READY_PATH: Final = "/v2/health/ready"
SERVER_PATH: Final = "/v2"


def http_config(
    *,
    dispatcher: Dispatcher,
    dialect: Dialect,
    settings: Settings,
    on_exchange: Callable[[Exchange], None],
    native_inference: bool,
    events: Events,
) -> HttpServerConfig:
    """Return the configuration that every connection is made with.

    Parameters
    ----------
    native_inference
        The core may answer inferences, because none needs what only Python looks at.
    events
        What all requests and all answers have besides.
    """
    codes = [code for code in ErrorCode if code is not ErrorCode.OK]
    rows = [dialect.status(code, operation=Operation.INFER) for code in codes]
    config = HttpServerConfig(
        dispatcher=dispatcher,
        on_exchange=on_exchange,
        on_protocol_error=partial(responses.protocol_error, dialect=dialect),
        max_body_bytes=settings.http_max_input_size,
        max_binary_body_bytes=settings.arena_max_bytes,
        max_header_bytes=MAX_HEADER_BYTES,
        max_header_fields=MAX_HEADER_FIELDS,
        max_pipelined=MAX_PIPELINED,
        style=dialect.name.value,
        http_statuses=[200, *(row.http for row in rows)],
        retry_after_s=[0, *(row.retry_after_s for row in rows)],
        native_inference=native_inference,
        answer_events=events.answer,
        request_events=events.request,
        reads_origin=settings.http.cors is not None,
        compresses=settings.http.compresses,
        root_path=settings.http.root_path,
    )
    config.count_inferences(INFER_ROUTE, VERSIONED_INFER_ROUTE)
    set_limits(config, dialect=dialect, clients=settings.clients)
    return config


def set_limits(config: HttpServerConfig, *, dialect: Dialect, clients: ClientLimits) -> None:
    """Hold clients to these limits from now on."""
    config.set_limits(**msgspec.structs.asdict(clients))
    config.set_busy_answer(responses.too_many_connections(dialect, limit=clients.max_connections))


def set_fixed_answers(
    config: HttpServerConfig,
    *,
    dialect: Dialect,
    health: Health,
    server: ServerMetadata,
    restrictions: Restrictions,
) -> None:
    """Prebuild the answers that change only with the server's state, and that all may have."""
    live = dialect.live if health.is_live else dialect.not_live
    ready = dialect.ready if health.is_ready else dialect.not_ready
    metadata = responses.json_response(server_metadata_body(server))
    for path, category, response, route in (
        (LIVE_PATH, Category.HEALTH, responses.health_response(live), ""),
        (READY_PATH, Category.HEALTH, responses.health_response(ready), ""),
        (SERVER_PATH, Category.METADATA, metadata, SERVER_PATH),
    ):
        if not restrictions.covers(category):
            config.set_static(path, responses.whole(response), response.status, route)
