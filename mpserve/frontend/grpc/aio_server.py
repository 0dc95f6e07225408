"""The gRPC server of a frontend on `grpc.aio`: port, options, certificates; opened once.

Importing this imports grpcio, an optional extra: a frontend does so only when gRPC is wanted.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from mpserve.errors import ConfigError
from mpserve.frontend.grpc.aio_transport import AioHandlers
from mpserve.frontend.grpc.call import Services
from mpserve.frontend.handover import hand_over, own_listeners
from mpserve.frontend.listener import refuse_taken
from mpserve.settings import ClientLimits, GrpcCompression, GrpcSettings
from mpserve.settings.unix_address import unix_path

COMPRESSION_LEVELS: Final = {
    GrpcCompression.NONE: 0,
    GrpcCompression.LOW: 1,
    GrpcCompression.MEDIUM: 2,
    GrpcCompression.HIGH: 3,
}


class AioGrpcServer:
    """A listening server; `open` makes it."""

    def __init__(
        self,
        server: grpc.aio.Server,
        services: Services,
        handlers: AioHandlers,
        *,
        certificates: tuple[bytes, ...],
        path: str | None,
        settings: GrpcSettings,
    ) -> None:
        self._server = server
        self._certificates = certificates
        self._services = services
        self._path = path
        self._handlers = handlers
        self._port = settings.port
        self._shares_port = settings.reuse_port and path is None

    @classmethod
    async def open(
        cls, services: Services, *, settings: GrpcSettings, exclusive: bool
    ) -> "AioGrpcServer":
        """Listen.

        Parameters
        ----------
        exclusive
            Refuse a port on which another server listens, although that one would share it.

        Raises
        ------
        ConfigError
            The address can not be used, the port is taken, or a certificate can not be read.
        """
        path = unix_path(settings.address)
        if exclusive and path is None:
            refuse_taken(address=settings.address, port=settings.port)
        place = _place(settings)
        certificates = _certificates(settings)
        credentials = _credentials(settings)
        handlers = AioHandlers(services)
        server = grpc.aio.server(handlers=(handlers,), options=options(settings))
        # The library takes the place of the file that the root made, with a socket of its own.
        mask = os.umask(0o777 & ~int(settings.socket_mode, 8)) if path is not None else -1
        try:
            if credentials is None:
                server.add_insecure_port(place)
            else:
                server.add_secure_port(place, credentials)
        except RuntimeError as error:  # grpcio's word for every reason
            raise ConfigError(
                f"Socket '{settings.address}:{settings.port}' already in use "
            ) from error
        finally:
            if mask >= 0:
                os.umask(mask)
        await server.start()
        return cls(
            server, services, handlers, certificates=certificates, path=path, settings=settings
        )

    def look_at_pace(self) -> None:
        """Leave the pace of clients to grpcio."""

    async def change(
        self,
        settings: GrpcSettings,
        clients: ClientLimits,  # noqa: ARG002  # grpcio has limits of its own
    ) -> None:
        """Take keys and values of restrictions; grpcio has certificates for its life.

        Raises
        ------
        ConfigError
            They have changed.
        """
        self._services.restrict_by(settings.restrictions)
        if _certificates(settings) != self._certificates:
            raise ConfigError(
                "grpc.aio does not read the certificates of gRPC again; start a new server"
            )

    def hand_over(self) -> bool:
        """Leave connections that begin from now on to another server; as `Listening`'s."""
        if not self._shares_port:
            return False
        with contextlib.ExitStack() as copies:
            found = [copies.enter_context(one) for one in own_listeners(self._port)]
            needs_time = [hand_over(one) for one in found]
        return any(needs_time)

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, finish what is in flight until the grace is over, close."""
        self._handlers.drain()
        await self._server.stop(grace_seconds)
        if self._path is not None:
            _remove(self._path)


def options(settings: GrpcSettings) -> list[tuple[str, int]]:
    """Return the channel arguments that the settings mean."""
    chosen = {
        "grpc.so_reuseport": 1,  # all frontends of a server share the port
        "grpc.max_receive_message_length": settings.max_message_bytes,
        "grpc.max_send_message_length": settings.max_message_bytes,
        "grpc.default_compression_level": COMPRESSION_LEVELS[settings.compression_level],
        "grpc.keepalive_time_ms": settings.keepalive_time_ms,
        "grpc.keepalive_timeout_ms": settings.keepalive_timeout_ms,
        "grpc.keepalive_permit_without_calls": int(settings.keepalive_permit_without_calls),
        "grpc.http2.max_pings_without_data": settings.http2_max_pings_without_data,
        "grpc.http2.min_ping_interval_without_data_ms": settings.http2_min_ping_interval_ms,
        "grpc.http2.max_ping_strikes": settings.http2_max_ping_strikes,
    }
    ages = {
        "grpc.max_connection_age_ms": settings.max_connection_age_ms,
        "grpc.max_connection_age_grace_ms": settings.max_connection_age_grace_ms,
    }
    return [*chosen.items(), *((name, age) for name, age in ages.items() if age > 0)]


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _place(settings: GrpcSettings) -> str:
    if unix_path(settings.address) is not None:
        return settings.address
    host = settings.address or "0.0.0.0"  # noqa: S104  what "" means for the peers
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def _certificates(settings: GrpcSettings) -> tuple[bytes, ...]:
    """Return the files of TLS as they are now; raises `ConfigError`."""
    paths = (settings.server_key, settings.server_cert, settings.root_cert)
    return tuple(_read(path) for path in paths if settings.use_ssl and path)


def _credentials(settings: GrpcSettings) -> grpc.ServerCredentials | None:
    if not settings.use_ssl:
        return None
    pair = (_read(settings.server_key), _read(settings.server_cert))
    return grpc.ssl_server_credentials(
        [pair],
        root_certificates=_read(settings.root_cert) if settings.root_cert else None,
        require_client_auth=settings.use_ssl_mutual,
    )


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"'{path}' can not be read: {error.strerror}") from error
