"""`ModelStreamInfer` to a model that takes the whole stream: its requests are one request's.

MLServer calls `predict_stream` once for a stream; which model that is, the first message says.

Guarantees: a further request is sent when the model wants it, so at most `MAX_WAITING` messages of
a stream are kept here, and a model that does not ask holds its client back. Answers leave in their
order and at the client's pace. The model's end is the stream's, whatever the client still sends. A
further request that is refused ends the stream behind what the model has answered; the model is
cancelled.

Source: MLServer 1.7.1 as seen running; docs/adr/0025-streams-of-requests.md.
"""

import time
from collections import deque
from typing import Any, Final

from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import MpserveError
from mpserve.frontend.grpc.call import SHUTTING_DOWN, GrpcFailure, Metadata, StreamOutput
from mpserve.frontend.grpc.infer import GrpcInfer
from mpserve.frontend.grpc.infer_result import CallKind, InferResult

MAX_WAITING: Final = 4


class ModelStream:
    """One stream; satisfies `call.StreamInput` once `begin` was called."""

    def __init__(
        self, *, output: StreamOutput, infer: GrpcInfer, metadata: Metadata, routed: RoutedModel
    ) -> None:
        self._output = output
        self._infer = infer
        self._metadata = metadata
        self._routed = routed
        self._token = 0
        self._waiting: deque[bytes] = deque()
        self._ready: deque[InferResult | GrpcFailure] = deque()
        self._wants_input = False
        self._takes_more = True
        self._ends_with: GrpcFailure | None = None
        self._has_ended = False

    def begin(self, message: Any) -> None:  # noqa: ANN401  a ModelInferRequest
        """Submit the first request; raises `MpserveError`."""
        self._token = self._infer.start(
            message,
            metadata=self._told,
            begun_ns=time.monotonic_ns(),
            deadline_ns=self._output.deadline_ns,
            decoupled_refusal=None,
            tells_final=False,
            kind=CallKind.STREAM,
            on_result=self._on_result,
        )

    def on_message(self, message: bytes) -> None:
        """Keep a further request until the model wants it."""
        if self._takes_more and not self._has_ended:
            self._waiting.append(message)
            self._feed()

    def on_half_close(self) -> None:
        """Tell the model when it has had all."""
        self._takes_more = False
        self._feed()

    def on_client_gone(self) -> None:
        """Take the stream back from the model."""
        if not self._has_ended:
            self._has_ended = True
            self._waiting.clear()
            self._ready.clear()
            self._infer.cancel(self._token)

    def on_drain(self) -> None:
        """Take nothing new; end when the model has."""
        if self._takes_more:
            self._ends_with = SHUTTING_DOWN
        self.on_half_close()

    def has_room(self) -> bool:
        """Tell whether one more request may be read."""
        return len(self._waiting) < MAX_WAITING

    def _told(self) -> Metadata:
        return self._metadata

    def _feed(self) -> None:
        if not self._wants_input or self._has_ended:
            return
        if self._waiting:
            self._wants_input = False
            self._send_input(self._waiting.popleft())
        elif not self._takes_more:
            self._wants_input = False
            self._infer.end_inputs(self._token)

    def _send_input(self, encoded: bytes) -> None:
        try:
            self._infer.send_input(self._token, encoded, routed=self._routed, metadata=self._told)
        except MpserveError as error:
            self._infer.cancel(self._token)
            self._takes_more = False
            self._waiting.clear()
            self._ready.append(self._infer.failure(error))
            self._flush()
            return
        self._output.read_on()

    def _on_result(self, result: InferResult) -> None:
        if self._has_ended:
            return
        if result.wants_input:
            self._wants_input = True
            self._feed()
            return
        self._ready.append(result)
        self._flush()

    def _flush(self) -> None:
        """Send as far as the client reads."""
        while self._ready and not self._has_ended and self._output.writable:
            self._send(self._ready.popleft())
        if self._ready and not self._has_ended:
            self._output.on_writable(self._flush)

    def _send(self, result: InferResult | GrpcFailure) -> None:
        if isinstance(result, GrpcFailure):
            self._fail(result)
            return
        answer = result.encode()
        if result.headers:
            self._output.set_trailers(result.headers)
        if isinstance(answer, GrpcFailure):
            self._fail(answer)
            return
        if answer is not None:
            self._output.send(answer)
        if result.is_final:
            self._has_ended = True
            self._output.end(self._ends_with)

    def _fail(self, failure: GrpcFailure) -> None:
        self.on_client_gone()  # nobody will hear the other answers
        self._output.end(failure)
