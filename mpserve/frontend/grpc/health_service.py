"""`grpc.health.v1.Health`: the server's readiness, whatever service a client names.

Source: triton.md 4.5; the gRPC health checking protocol for `Watch`.
"""

from typing import Final

from mpserve.frontend.grpc.call import SHUTTING_DOWN, Call, Metadata, StreamOutput
from mpserve.frontend.handlers.health import Health
from mpserve.model.proto.schema import HEALTH, schema

CHECK_PATH: Final = "/grpc.health.v1.Health/Check"
WATCH_PATH: Final = "/grpc.health.v1.Health/Watch"

_SERVING: Final = 1
_NOT_SERVING: Final = 2


class HealthService:
    """Tells whether the server is ready."""

    def __init__(self, health: Health) -> None:
        self._health = health
        response = schema(HEALTH).message("grpc.health.v1.HealthCheckResponse")
        self._told: dict[bool, bytes] = {
            True: response(status=_SERVING).SerializeToString(),
            False: response(status=_NOT_SERVING).SerializeToString(),
        }

    def check(self, _: bytes, call: Call) -> None:
        """Answer `Check`; the name of the service is not looked at."""
        call.finish(self.state())

    def watch(self, output: StreamOutput, _: Metadata) -> "HealthWatch":
        """Open a `Watch`."""
        return HealthWatch(service=self, health=self._health, output=output)

    def state(self) -> bytes:
        """Return the encoded answer of now."""
        return self._told[self._health.is_ready]


class HealthWatch:
    """One client that is told each change. The stream ends with the client or the server."""

    def __init__(self, *, service: HealthService, health: Health, output: StreamOutput) -> None:
        self._service = service
        self._health = health
        self._output = output
        self._last = b""

    def on_message(self, message: bytes) -> None:  # noqa: ARG002  its service is not looked at
        """Tell the state, and each change from now on."""
        self._health.watch(self._tell)
        self._tell()

    def on_half_close(self) -> None:
        """It is the usual end of what the client says; the answers go on."""

    def on_client_gone(self) -> None:
        """Nobody listens any more."""
        self._health.unwatch(self._tell)

    def on_drain(self) -> None:
        """End: the server does."""
        self._health.unwatch(self._tell)
        self._output.end(SHUTTING_DOWN)

    def has_room(self) -> bool:
        """Tell that messages may be read: there is one."""
        return True

    def _tell(self) -> None:
        state = self._service.state()
        if state != self._last:
            self._last = state
            self._output.send(state)
