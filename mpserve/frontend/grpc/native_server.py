"""The gRPC server of a frontend on the native core's HTTP/2: opened once, stopped once.

Guarantees: as `aio_server`, which it stands in for; nothing here imports grpcio.
Source: docs/adr/0010-native-grpc.md.
"""

import asyncio
import contextlib
import traceback
from typing import Final, cast

import msgspec

from mpserve.codec.grpc_connection import GrpcConnection, GrpcServerConfig
from mpserve.dialect import Dialect, GrpcCode, Operation
from mpserve.errors import ErrorCode
from mpserve.frontend.grpc.call import GrpcFailure, Services
from mpserve.frontend.grpc.message_encoding import WANTED, MessageInflater, deflate
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.handover import DRAIN_HANDSHAKE_SECONDS
from mpserve.frontend.listener import Listener, Listening, shut
from mpserve.frontend.tls import tls_context
from mpserve.settings import ClientLimits, GrpcSettings
from mpserve.shm.dispatcher import Dispatcher
from mpserve.telemetry import log

ALPN: Final = "h2"
LOOK_SECONDS: Final = 0.01


class NativeGrpcServer:
    """A listening server; `open` makes it."""

    def __init__(
        self,
        *,
        services: Services,
        settings: GrpcSettings,
        clients: ClientLimits,
        dialect: Dialect,
        dispatcher: Dispatcher,
        health: Health,
    ) -> None:
        self._services = services
        self._health = health
        self._is_empty = asyncio.Event()
        self._listening: Listening | None = None
        self._shut_fd = -1
        self._config = GrpcServerConfig(
            dispatcher=dispatcher,
            infer=services.native_infer,
            settings=settings,
            statuses=_statuses(dialect),
            codings=WANTED[settings.compression_level],
            refusal=services.refusal,
            inflate=MessageInflater(settings.max_message_bytes).inflate,
            deflate=deflate,
            on_crash=_tell_crash,
            call_later=asyncio.get_running_loop().call_later,
            on_empty=self._is_empty.set,
        )
        self._config.set_limits(**msgspec.structs.asdict(clients))
        for path, method in services.unary.items():
            infers = path == services.infer_path and services.native_infer is not None
            self._config.add_method(
                path,
                method,
                streams=False,
                guarded=services.is_guarded(path),
                infers=infers,
                wants_metadata=not infers,
                kind=services.kind(path),
            )
        for path, stream in services.streams.items():
            self._config.add_method(
                path,
                stream,
                streams=True,
                guarded=services.is_guarded(path),
                infers=False,
                wants_metadata=True,
                kind=services.kind(path),
            )
        self._set_fixed()
        health.watch(self._set_fixed)

    @classmethod
    async def open(
        cls,
        services: Services,
        *,
        settings: GrpcSettings,
        clients: ClientLimits,
        dialect: Dialect,
        dispatcher: Dispatcher,
        health: Health,
        listener: Listener,
        shut_fd: int,
    ) -> "NativeGrpcServer":
        """Take connections.

        Parameters
        ----------
        shut_fd
            Socket that is shut at the end, in every process that has it; -1 for none.

        Raises
        ------
        ConfigError
            A certificate can not be read.
        """
        tls = tls_context(settings, flags="grpc", protocol=ALPN)
        server = cls(
            services=services,
            settings=settings,
            clients=clients,
            dialect=dialect,
            dispatcher=dispatcher,
            health=health,
        )
        server._shut_fd = shut_fd
        server._listening = await Listening.open(listener, server._make_connection, tls=tls)
        return server

    def look_at_pace(self) -> None:
        """End connections whose clients are too slow or idle; about once a second."""
        self._config.look_at_pace()

    async def change(self, settings: GrpcSettings, clients: ClientLimits) -> None:
        """Go on by settings in which only what may change differs; certificates are read again.

        Raises
        ------
        ConfigError
            A certificate can not be used; all else was taken.
        """
        assert self._listening is not None, "a server that was opened"
        self._services.restrict_by(settings.restrictions)
        self._config.set_limits(**msgspec.structs.asdict(clients))
        tls = tls_context(settings, flags="grpc", protocol=ALPN)
        if tls is not None:
            await self._listening.encrypt_by(tls)

    def hand_over(self) -> bool:
        """Leave connections that begin from now on to another server; as `Listening`'s."""
        return self._listening is not None and self._listening.hand_over()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, finish what is in flight until the grace is over, close."""
        assert self._listening is not None, "a server that was opened"
        self._health.unwatch(self._set_fixed)
        self._listening.close()
        if self._shut_fd >= 0:
            # Other processes hold it too: nobody may connect who is not answered any more.
            shut(self._shut_fd)
        self._config.drain()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._end_handshakes()
                self._is_empty.clear()
                if self._config.connections:
                    await self._is_empty.wait()
        except TimeoutError:
            self._config.abort()

    async def _end_handshakes(self) -> None:
        """Wait for TLS handshakes that are under way: who ends his is told to go elsewhere."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_HANDSHAKE_SECONDS):
                # The count is the native core's, which tells no event when it changes.
                while self._config.handshakes:  # noqa: ASYNC110  see above
                    await asyncio.sleep(LOOK_SECONDS)

    def _make_connection(self) -> asyncio.BufferedProtocol:
        # Native, so it has the methods of the protocol but not its base class.
        return cast("asyncio.BufferedProtocol", GrpcConnection(self._config))

    def _set_fixed(self) -> None:
        """Prepare the answers that change only with the server's state."""
        for path in self._services.fixed_paths:
            answer = _OnlyAnswer()
            self._services.unary[path](b"", answer)
            if isinstance(answer.result, bytes):
                self._config.set_fixed(path, answer.result)


class _OnlyAnswer:
    """A call that is answered at once."""

    received_ns = 0
    deadline_ns = 0

    def __init__(self) -> None:
        self.result: bytes | GrpcFailure | None = None

    def finish(self, result: bytes | GrpcFailure) -> None:
        self.result = result

    def metadata(self) -> dict[str, str]:
        return {}

    def set_trailers(self, headers: bytes) -> None:
        """Nobody gives any."""

    def on_client_gone(self, callback: object) -> None:
        """It is answered before."""


def _statuses(dialect: Dialect) -> list[int]:
    codes = [code for code in ErrorCode if code is not ErrorCode.OK]
    return [0, *(int(dialect.status(code, operation=Operation.INFER).grpc) for code in codes)]


def _tell_crash(path: str, error: BaseException) -> GrpcFailure:
    log.error(
        "request.crashed",
        target=path,
        error=repr(error),
        traceback="".join(traceback.format_exception(error)),
    )
    return GrpcFailure(code=GrpcCode.INTERNAL, message=f"internal error: {error!r}")
