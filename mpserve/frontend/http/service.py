"""HTTP of a frontend as one thing: its endpoints, its fixed answers, its listener."""

import asyncio
from typing import Final, cast

from mpserve.codec.cloud_events import Events
from mpserve.codec.http_connection import HttpConnection
from mpserve.dialect import DIALECTS
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.handlers import Handlers
from mpserve.frontend.http.cors import Cors
from mpserve.frontend.http.endpoints import Endpoints
from mpserve.frontend.http.inferences import make_inferences
from mpserve.frontend.http.restriction import Restrictions
from mpserve.frontend.http.server import http_config, set_fixed_answers, set_limits
from mpserve.frontend.listener import Listener, Listening
from mpserve.frontend.tls import tls_context
from mpserve.settings import Category, HttpSettings, Settings
from mpserve.shm.dispatcher import Dispatcher

ALPN: Final = "http/1.1"


class HttpService:
    """Answers HTTP; listens once `serve` was called.

    Parameters
    ----------
    handlers
        What is asked, shared with the other wires.
    events
        What all requests and all answers have besides.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        dispatcher: Dispatcher,
        handlers: Handlers,
        events: Events,
    ) -> None:
        self._dialect = DIALECTS[settings.dialect]
        self._handlers = handlers
        self._listening: Listening | None = None
        self._restrictions = Restrictions(settings.http.restrictions)
        forwarding = HeaderForwarding(settings.http.header_forward_pattern, events=events.request)
        inferences = make_inferences(
            handler=handlers.infer,
            labels=handlers.labels,
            forwarding=forwarding,
            dialect=self._dialect,
            max_input_bytes=settings.http_max_input_size,
            events=events,
            root_path=settings.http.root_path,
            compresses=settings.http.compresses,
        )
        endpoints = Endpoints(
            dialect=self._dialect,
            handlers=handlers,
            inferences=inferences,
            restrictions=self._restrictions,
            cors=Cors(settings.http.cors) if settings.http.cors is not None else None,
            root_path=settings.http.root_path,
            compresses=settings.http.compresses,
            max_body_bytes=settings.http_max_input_size,
        )
        self._config = http_config(
            dispatcher=dispatcher,
            dialect=self._dialect,
            settings=settings,
            on_exchange=endpoints.answer,
            native_inference=not (
                forwarding.forwards or self._restrictions.covers(Category.INFERENCE)
            ),
            events=events,
        )
        self._set_fixed_answers()
        handlers.health.watch(self._set_fixed_answers)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return self._config.connections

    @property
    def handshakes(self) -> int:
        """Number of connections whose TLS handshake is under way."""
        return self._config.handshakes

    async def serve(self, listener: Listener, *, settings: HttpSettings) -> None:
        """Take connections until `close`.

        Raises
        ------
        ConfigError
            A certificate can not be used.
        """
        tls = tls_context(settings, flags="http", protocol=ALPN)
        self._listening = await Listening.open(listener, self._make_connection, tls=tls)

    async def change(self, settings: Settings) -> None:
        """Go on by settings in which only what may change differs; certificates are read again.

        Raises
        ------
        ConfigError
            A certificate can not be used; all else was taken.
        """
        self._restrictions.change(settings.http.restrictions)
        set_limits(self._config, dialect=self._dialect, clients=settings.clients)
        tls = tls_context(settings.http, flags="http", protocol=ALPN)
        if self._listening is not None and tls is not None:
            await self._listening.encrypt_by(tls)

    def hand_over(self) -> bool:
        """Leave connections that begin from now on to another server; as `Listening`'s."""
        return self._listening is not None and self._listening.hand_over()

    def close(self) -> None:
        """Take no more connections; those that there are go on."""
        if self._listening is not None:
            self._listening.close()

    def _set_fixed_answers(self) -> None:
        """Take the server's state into the answers that are made beforehand."""
        set_fixed_answers(
            self._config,
            dialect=self._dialect,
            health=self._handlers.health,
            server=self._handlers.metadata.server(),
            restrictions=self._restrictions,
        )

    def look_at_pace(self) -> None:
        """End connections whose clients are too slow or idle; about once a second."""
        self._config.look_at_pace()

    def drain(self) -> None:
        """Make the answer that a connection waits for, or the next one, its last."""
        self._config.drain()

    def close_idle(self) -> None:
        """Close connections that rest between two requests; after `drain`."""
        self._config.close_idle()

    def close_untouched(self) -> None:
        """Close connections on which nothing was ever received; after `drain`."""
        self._config.close_untouched()

    def _make_connection(self) -> asyncio.BufferedProtocol:
        # Native, so it has the methods of the protocol but not its base class.
        return cast("asyncio.BufferedProtocol", HttpConnection(self._config))
