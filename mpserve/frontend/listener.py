"""The listening socket of a frontend; all frontends of a server share its address and port."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

from mpserve.errors import ConfigError
from mpserve.frontend.handover import hand_over

BACKLOG: Final = 4096  # the most that Linux allows as it comes (net.core.somaxconn)
# Of TLS; as long as the head of a request may take when nothing else is said (`ClientLimits`).
TLS_SECONDS: Final = 20.0
# A client whose machine is gone without a word is noticed after 60 + 4 x 15 s; what is accepted
# inherits this from its listener.
KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


def listen(*, address: str, port: int, exclusive: bool) -> socket.socket:
    """Return a listening socket.

    Parameters
    ----------
    address
        Host name or address, of either IP version; "" for all of IPv4.
    port
        0 for one that the system chooses.
    exclusive
        Refuse a port on which another server listens, although that one would share it.

    Raises
    ------
    ConfigError
        The address can not be used, or the port is taken; with Triton's words for the latter.
    """
    if exclusive:
        refuse_taken(address=address, port=port)
    return _listening(_open(address, port, socket.SO_REUSEPORT))


def listen_inherited(fd: int) -> socket.socket:
    """Return a bound socket as a listening one; others may listen on it, too."""
    return _listening(socket.socket(fileno=os.dup(fd)))


class Listener(NamedTuple):
    """A listening socket.

    Attributes
    ----------
    shares_port
        Another server may listen on the same port, with a socket of its own.
    """

    socket: socket.socket
    shares_port: bool


class Listening:
    """Takes connections until it is closed; `open` makes it."""

    def __init__(self, make: Callable[[], asyncio.BufferedProtocol], *, shares_port: bool) -> None:
        self._make = make
        self._shares_port = shares_port
        self._server: asyncio.Server | None = None

    @classmethod
    async def open(
        cls,
        listener: Listener,
        make: Callable[[], asyncio.BufferedProtocol],
        *,
        tls: ssl.SSLContext | None,
    ) -> "Listening":
        """Take connections of `listener`, which is closed with the result."""
        listening = cls(make, shares_port=listener.shares_port)
        await listening._take(listener.socket, tls)
        return listening

    async def encrypt_by(self, tls: ssl.SSLContext) -> None:
        """Encrypt connections that are taken from now on by `tls`; none is refused meanwhile."""
        before = self._server
        assert before is not None, "it is open"
        await self._take(socket.socket(fileno=os.dup(before.sockets[0].fileno())), tls)
        before.close()

    def hand_over(self) -> bool:
        """Leave connections that begin from now on to the other server on a shared port.

        Returns
        -------
        bool
            It is to be closed `HANDSHAKE_SECONDS` later, not at once.
        """
        if not self._shares_port or self._server is None:
            return False
        with socket.socket(fileno=os.dup(self._server.sockets[0].fileno())) as listener:
            return hand_over(listener)

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    async def _take(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        if listener.family is socket.AF_UNIX:
            self._server = await loop.create_unix_server(
                self._make,
                sock=listener,
                ssl=tls,
                ssl_handshake_timeout=_only_with(tls),
                backlog=BACKLOG,
            )
        else:
            self._server = await loop.create_server(
                self._make,
                sock=listener,
                ssl=tls,
                ssl_handshake_timeout=_only_with(tls),
                backlog=BACKLOG,
            )


def shut(fd: int) -> None:
    """Refuse connections to an inherited socket from now on, in every process that listens."""
    with socket.socket(fileno=os.dup(fd)) as listener, contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def refuse_taken(*, address: str, port: int) -> None:
    """Raise `ConfigError`, as `listen` does, when anyone listens there, sharing the port or not."""
    _open(address, port).close()  # without SO_REUSEPORT


def port_of(listener: socket.socket) -> int:
    """Return the port that a socket listens on."""
    port: int = listener.getsockname()[1]
    return port


def _only_with(tls: ssl.SSLContext | None) -> float | None:
    return TLS_SECONDS if tls is not None else None


def _listening(listener: socket.socket) -> socket.socket:
    if listener.family is not socket.AF_UNIX:
        for level, option, value in KEEPALIVE:
            listener.setsockopt(level, option, value)
    listener.listen(BACKLOG)
    listener.settimeout(0.0)
    return listener


def _open(address: str, port: int, *options: int) -> socket.socket:
    host = address or "0.0.0.0"  # noqa: S104  what "" means for the peers
    try:
        places = socket.getaddrinfo(
            # Text would import the codec of international names, which takes as long as all else
            # between the first table and being ready.
            host.encode() if host.isascii() else host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        raise ConfigError(f"address '{address}' can not be listened on: {error}") from error
    family, _, _, _, place = places[0]
    try:
        return _bound(family, place, *options)
    except OSError as error:
        raise ConfigError(_complaint(error, address, port)) from error


def _bound(family: int, place: tuple[object, ...], *options: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, *options):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(place)
    except OSError:
        listener.close()
        raise
    return listener


def _complaint(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Socket '{address}:{port}' already in use "
    return f"Socket '{address}:{port}' can not be opened: {error.strerror}"
