"""Which of the two transports carries gRPC: the native one, or `grpc.aio` where that can not."""

import importlib.util
from typing import Final, Protocol

import msgspec

from mpserve.codec.grpc_connection import http2_library_fault
from mpserve.dialect import Dialect
from mpserve.errors import ConfigError
from mpserve.frontend.grpc import library
from mpserve.frontend.grpc.call import Services
from mpserve.frontend.grpc.counted_services import counted
from mpserve.frontend.grpc.native_server import NativeGrpcServer
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.listener import Listener, listen, listen_inherited
from mpserve.settings import ClientLimits, GrpcSettings, GrpcTransport
from mpserve.settings.unix_address import unix_path
from mpserve.shm.dispatcher import Dispatcher
from mpserve.telemetry import log

_REMEDY: Final = "install it (Debian and Ubuntu: libnghttp2-14)"
_AIO_PACKAGE: Final = "grpc"


class GrpcServer(Protocol):
    """A server that listens."""

    def look_at_pace(self) -> None:
        """End connections whose clients are too slow or idle; about once a second."""

    async def change(self, settings: GrpcSettings, clients: ClientLimits) -> None:
        """Go on by settings in which only what may change differs; certificates are read again.

        Raises
        ------
        ConfigError
            A certificate can not be used; all else was taken.
        """

    def hand_over(self) -> bool:
        """Leave connections that begin from now on to another server; as `Listening`'s."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, finish what is in flight until the grace is over, close."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is opened with, besides its services.

    Attributes
    ----------
    exclusive
        Refuse a port on which another server listens, although that one would share it.
    inherited_fd
        Bound socket, which all frontends share; -1 for none.
    is_lent
        It is somebody else's, who goes on listening.
    is_alone
        The server has no other frontend.
    """

    settings: GrpcSettings
    clients: ClientLimits
    dialect: Dialect
    dispatcher: Dispatcher
    health: Health
    exclusive: bool
    inherited_fd: int
    is_lent: bool
    is_alone: bool


async def open_server(services: Services, place: Place) -> GrpcServer:
    """Listen.

    Raises
    ------
    ConfigError
        The address can not be used, the port is taken, a certificate can not be read, or the
        transport that was asked for can not be had.
    """
    fault = http2_library_fault()
    if is_native(place.settings.transport, fault=fault):
        return await NativeGrpcServer.open(
            services,
            settings=place.settings,
            clients=place.clients,
            dialect=place.dialect,
            dispatcher=place.dispatcher,
            health=place.health,
            listener=_listener(place),
            shut_fd=-1 if place.is_lent else place.inherited_fd,
        )
    # Here, because it imports grpcio: 100 ms and 20 MiB that the native transport does not need.
    _check_portable(place, fault=fault)
    library.prepare()
    from mpserve.frontend.grpc.aio_server import AioGrpcServer  # noqa: PLC0415

    traffic = place.dispatcher.traffic
    if traffic is not None:
        services = counted(services, traffic)
    return await AioGrpcServer.open(services, settings=place.settings, exclusive=place.exclusive)


def _listener(place: Place) -> Listener:
    if place.inherited_fd >= 0:
        return Listener(listen_inherited(place.inherited_fd), shares_port=False)
    settings = place.settings
    made = listen(address=settings.address, port=settings.port, exclusive=place.exclusive)
    return Listener(made, shares_port=settings.reuse_port)


def _check_portable(place: Place, *, fault: str) -> None:
    """Raise `ConfigError` where `grpc.aio` can not do what is wanted."""
    if importlib.util.find_spec(_AIO_PACKAGE) is None:
        raise ConfigError(
            f"gRPC needs nghttp2, {_REMEDY}: {fault or 'not asked for'}; "
            "or grpcio: pip install 'mpserve[grpc]'"
        )
    if place.is_lent:
        raise ConfigError(f"grpc.aio can not use a lent socket; it needs nghttp2, {_REMEDY}")
    if unix_path(place.settings.address) is not None and not place.is_alone:
        raise ConfigError(
            f"Socket '{place.settings.address}' can not be shared by frontends on grpc.aio: "
            f"--frontends=1, or nghttp2, {_REMEDY}"
        )


def is_native(wanted: GrpcTransport, *, fault: str) -> bool:
    """Tell whether the native transport carries gRPC.

    Parameters
    ----------
    fault
        Why its library can not be used; "" when it can.

    Raises
    ------
    ConfigError
        It was asked for in so many words, and can not be had.
    """
    if wanted is GrpcTransport.AIO:
        return False
    if not fault:
        return True
    if wanted is GrpcTransport.NATIVE:
        raise ConfigError(f"--grpc-transport=native needs nghttp2, {_REMEDY}: {fault}")
    log.warning("grpc.fell_back", reason=fault, remedy=f"faster with nghttp2, {_REMEDY}")
    return False
