"""`ModelStreamInfer`: one stream, many requests, each answered once and in their order.

Guarantees: answers come in the order of the requests; a failed request ends the stream only where
the dialect, or the client, wants it so; a client that goes takes back all that waits. At most
`MAX_OUTSTANDING` requests of a stream are in flight, so that one client can not fill a queue.

Source: triton.md 4.7; MLServer 1.7.1.
"""

from collections import deque
from functools import partial
from typing import Any, Final

import msgspec

from mpserve.codec.proto_response import FINAL_PARAMETER, in_stream
from mpserve.dialect import Dialect
from mpserve.errors import MpserveError
from mpserve.frontend.grpc.call import SHUTTING_DOWN, GrpcFailure, Metadata, StreamOutput
from mpserve.frontend.grpc.infer import GrpcInfer
from mpserve.frontend.grpc.messages import inference_schema

MAX_OUTSTANDING: Final = 256
STATUS_METADATA: Final = "triton_grpc_error"
_STREAM_RESPONSE: Final = "inference.ModelStreamInferResponse"
_DECOUPLED_REFUSAL: Final = "models with decoupled transaction policy are not served yet"


class _Slot(msgspec.Struct, kw_only=True):
    """One request of the stream, until its answer is sent."""

    message: Any  # ModelInferRequest; None when the bytes were none
    token: int | None = None
    result: bytes | GrpcFailure | None = None


class InferStreams:
    """Opens streams of inferences."""

    def __init__(self, *, infer: GrpcInfer, dialect: Dialect) -> None:
        self._infer = infer
        self._carries_errors = dialect.stream_carries_errors
        self._error_class = (
            inference_schema(dialect.name).message(_STREAM_RESPONSE)
            if dialect.stream_carries_errors
            else None
        )

    def open(self, output: StreamOutput, metadata: Metadata) -> "InferStream":
        """Return the input of a new stream."""
        wants_status = metadata.get(STATUS_METADATA) == "true"
        return InferStream(
            output=output,
            infer=self._infer,
            error_class=None if wants_status else self._error_class,
            wraps=self._carries_errors,
        )


class InferStream:
    """One stream of inferences.

    Parameters
    ----------
    error_class
        Message that carries errors; `None`: an error ends the stream with its status.
    wraps
        Answers are wrapped in such messages, and tell that they are final.
    """

    def __init__(
        self,
        *,
        output: StreamOutput,
        infer: GrpcInfer,
        error_class: Any,  # noqa: ANN401  made at run time
        wraps: bool,
    ) -> None:
        self._output = output
        self._infer = infer
        self._error_class = error_class
        self._wraps = wraps
        self._slots: deque[_Slot] = deque()
        self._ends_with: GrpcFailure | None = None
        self._takes_more = True
        self._has_ended = False

    def on_message(self, message: bytes) -> None:
        """Start one inference."""
        if not self._takes_more:
            return
        slot = _Slot(message=None)
        self._slots.append(slot)
        try:
            slot.message = self._infer.parse(message)
            slot.token = self._infer.start(
                slot.message,
                decoupled_refusal=_DECOUPLED_REFUSAL,
                is_final=True if self._wraps else None,
                on_result=partial(self._on_result, slot),
            )
        except MpserveError as error:
            self._on_result(slot, self._infer.failure(error))

    def on_half_close(self) -> None:
        """End when what was asked is answered."""
        self._takes_more = False
        self._send_finished()

    def on_client_gone(self) -> None:
        """Take back everything that waits."""
        self._has_ended = True
        self._takes_more = False
        while self._slots:
            slot = self._slots.popleft()
            if slot.token is not None and slot.result is None:
                self._infer.cancel(slot.token)

    def on_drain(self) -> None:
        """Take nothing new; end when what was asked is answered."""
        if self._takes_more:
            self._takes_more = False
            self._ends_with = SHUTTING_DOWN
        self._send_finished()

    def has_room(self) -> bool:
        """Tell whether one more request may be read."""
        return len(self._slots) < MAX_OUTSTANDING

    def _on_result(self, slot: _Slot, result: bytes | GrpcFailure) -> None:
        slot.result = result
        self._send_finished()

    def _send_finished(self) -> None:
        """Send all answers that are next in order; end the stream after the last."""
        while not self._has_ended and self._slots and self._slots[0].result is not None:
            slot = self._slots.popleft()
            if isinstance(slot.result, GrpcFailure):
                self._send_failure(slot, slot.result)
            else:
                assert slot.result is not None
                self._output.send(in_stream(slot.result) if self._wraps else slot.result)
        if not (self._has_ended or self._takes_more or self._slots):
            self._has_ended = True
            self._output.end(self._ends_with)

    def _send_failure(self, slot: _Slot, failure: GrpcFailure) -> None:
        if self._error_class is None:
            self.on_client_gone()  # nobody will hear the other answers
            self._output.end(failure)
            return
        told = self._error_class(error_message=failure.message)
        message = slot.message
        if message is not None:
            told.infer_response.id = message.id
        if message is not None and slot.token is not None:  # it had been queued
            told.infer_response.model_name = message.model_name
            told.infer_response.model_version = message.model_version
            told.infer_response.parameters[FINAL_PARAMETER].bool_param = True
        self._output.send(told.SerializeToString())
