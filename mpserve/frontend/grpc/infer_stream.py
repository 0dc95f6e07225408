"""`ModelStreamInfer`: one stream, many requests, each answered once or, by decoupled models, often.

Guarantees: answers of ordinary models come in the order of their requests, those of decoupled
models as they are made; a failed request ends the stream only where the dialect, or the client,
wants it so; a client that goes takes back all that waits. At most `MAX_OUTSTANDING` requests of a
stream are in flight, so that one client can not fill a queue. Answers leave at the client's pace:
those that wait stay in the worker's shared memory, whose bound for each request then holds the
model back. In MLServer's dialect a model that answers streams takes its requests as a whole
(`model_stream`).

Source: triton.md 4.7; MLServer 1.7.1.
"""

import time
from collections import deque
from functools import partial
from typing import Any, Final

import msgspec

from mpserve.codec.proto_response import FINAL_PARAMETER, in_stream
from mpserve.codec.v2_proto import EMPTY_FINAL_PARAMETER
from mpserve.dialect import Dialect
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import MpserveError
from mpserve.frontend.grpc.call import (
    SHUTTING_DOWN,
    GrpcAnswer,
    GrpcFailure,
    Metadata,
    StreamOutput,
)
from mpserve.frontend.grpc.infer import GrpcInfer
from mpserve.frontend.grpc.infer_result import CallKind, InferResult, NativeResult
from mpserve.frontend.grpc.messages import inference_schema
from mpserve.frontend.grpc.model_stream import ModelStream

MAX_OUTSTANDING: Final = 256
STATUS_METADATA: Final = "triton_grpc_error"
_STREAM_RESPONSE: Final = "inference.ModelStreamInferResponse"


class _Encoded(msgspec.Struct, frozen=True):
    """A message of the stream, as it is sent."""

    message: bytes


class _Sending(msgspec.Struct, frozen=True):
    """One answer whose turn it is, and whose it is."""

    slot: "_Slot"
    answer: "_Encoded | GrpcFailure | InferResult"


class _Slot(msgspec.Struct, kw_only=True, eq=False):
    """One request of the stream, until its last answer is sent.

    Attributes
    ----------
    encoded
        The request as it came.
    message
        The request, once it was parsed: common ones never are.
    waiting
        Answers that wait for those of earlier requests.
    """

    encoded: bytes
    message: Any = None  # ModelInferRequest
    token: int | None = None
    is_ordered: bool = True
    is_finished: bool = False
    waiting: list[_Encoded | GrpcFailure | InferResult] = []


class InferStreams:
    """Opens streams of inferences."""

    def __init__(self, *, infer: GrpcInfer, dialect: Dialect) -> None:
        self._infer = infer
        self._response_class = (
            inference_schema(dialect.name).message(_STREAM_RESPONSE)
            if dialect.stream_carries_errors
            else None
        )

    def open(self, output: StreamOutput, metadata: Metadata) -> "InferStream":
        """Return the input of a new stream."""
        return InferStream(
            output=output,
            infer=self._infer,
            metadata=metadata,
            response_class=self._response_class,
        )


class InferStream:
    """One stream of inferences.

    Parameters
    ----------
    response_class
        Message that wraps answers and carries errors; `None`: answers are bare, and an error ends
        the stream with its status.
    """

    def __init__(
        self,
        *,
        output: StreamOutput,
        infer: GrpcInfer,
        metadata: Metadata,
        response_class: Any,  # noqa: ANN401  made at run time
    ) -> None:
        self._output = output
        self._infer = infer
        self._metadata = metadata
        self._response_class = response_class
        self._carries_errors = (
            response_class is not None and metadata.get(STATUS_METADATA) != "true"
        )
        self._slots: deque[_Slot] = deque()
        self._ready: deque[_Sending] = deque()  # in order; the client reads too slowly
        self._ends_with: GrpcFailure | None = None
        self._is_begun = False
        self._whole: ModelStream | None = None  # who has taken over
        self._takes_more = True
        self._has_ended = False

    def on_message(self, message: bytes) -> None:
        """Start one inference."""
        if self._whole is not None:
            self._whole.on_message(message)
            return
        if not self._takes_more:
            return
        slot = _Slot(encoded=message)
        self._slots.append(slot)
        # What is common goes past protobuf's objects (bench: infer-small over gRPC).
        on_encoded = partial(self._on_encoded, slot)
        wraps = self._response_class is not None
        slot.token = self._infer.start_native(
            message,
            on_encoded,
            metadata=lambda: self._metadata,
            deadline_ns=self._output.deadline_ns,
            in_stream=wraps,
        )
        if slot.token is None:
            self._start_rare(slot, message)
        self._is_begun = True

    def _start_rare(self, slot: _Slot, message: bytes) -> None:
        try:
            slot.message = self._infer.parse(message)
            routed = self._infer.find(slot.message)
            if routed.version.config.answers_streams and self._begins_as_whole(slot, routed):
                return
            slot.is_ordered = not routed.version.config.decoupled
            slot.token = self._infer.start(
                slot.message,
                metadata=lambda: self._metadata,
                begun_ns=time.monotonic_ns(),
                deadline_ns=self._output.deadline_ns,
                decoupled_refusal=None,
                tells_final=self._response_class is not None,
                kind=CallKind.MANY_ANSWERS,
                on_result=partial(self._on_result, slot),
            )
        except MpserveError as error:
            failure = self._infer.failure(error)
            self._on_result(slot, InferResult(encode=lambda: failure, is_final=True))

    def _begins_as_whole(self, slot: _Slot, routed: RoutedModel) -> bool:
        """Hand the stream to its model, when this is its first request and the dialect has that."""
        if self._response_class is not None or self._is_begun:
            return False
        whole = ModelStream(
            output=self._output, infer=self._infer, metadata=self._metadata, routed=routed
        )
        whole.begin(slot.message)
        self._slots.remove(slot)
        self._whole = whole
        return True

    def on_half_close(self) -> None:
        """End when what was asked is answered."""
        if self._whole is not None:
            self._whole.on_half_close()
            return
        self._takes_more = False
        self._send_in_order()

    def on_client_gone(self) -> None:
        """Take back everything that waits."""
        if self._whole is not None:
            self._whole.on_client_gone()
            return
        self._has_ended = True
        self._takes_more = False
        self._ready.clear()
        while self._slots:
            slot = self._slots.popleft()
            if slot.token is not None and not slot.is_finished:
                self._infer.cancel(slot.token)

    def on_drain(self) -> None:
        """Take nothing new; end when what was asked is answered."""
        if self._whole is not None:
            self._whole.on_drain()
            return
        if self._takes_more:
            self._takes_more = False
            self._ends_with = SHUTTING_DOWN
        self._send_in_order()

    def has_room(self) -> bool:
        """Tell whether one more request may be read."""
        if self._whole is not None:
            return self._whole.has_room()
        return len(self._slots) + len(self._ready) < MAX_OUTSTANDING

    def _on_encoded(self, slot: _Slot, answer: NativeResult) -> None:
        """Take the one answer of a common request; it is a message of the stream already."""
        if self._has_ended:
            return
        if isinstance(answer, GrpcAnswer):
            self._output.set_trailers(answer.headers)
            answer = answer.message
        slot.is_finished = True
        if self._slots[0] is slot and not self._ready and isinstance(answer, bytes):
            self._slots.popleft()
            self._output.send(answer)
        else:
            slot.waiting.append(_Encoded(answer) if isinstance(answer, bytes) else answer)
        if self._slots or not self._takes_more:
            self._send_in_order()

    def _on_result(self, slot: _Slot, result: InferResult) -> None:
        if self._has_ended:
            return
        slot.is_finished = result.is_final
        if slot.is_ordered:
            slot.waiting.append(result)
        else:
            self._ready.append(_Sending(slot, result))
            if slot.is_finished and slot in self._slots:
                self._slots.remove(slot)
        self._send_in_order()

    def _send_in_order(self) -> None:
        """Send what is next in order, as far as the client reads."""
        for slot in [slot for slot in self._slots if slot.is_ordered]:
            self._ready.extend(_Sending(slot, answer) for answer in slot.waiting)
            slot.waiting = []
            if not slot.is_finished:
                break
            self._slots.remove(slot)
        self._flush()

    def _flush(self) -> None:
        """Send what may be sent; end the stream after the last."""
        while self._ready and self._output.writable:
            self._send(self._ready.popleft())
        if self._ready:
            self._output.on_writable(self._flush)
        elif not (self._has_ended or self._takes_more or self._slots):
            self._has_ended = True
            self._output.end(self._ends_with)

    def _send(self, sending: _Sending) -> None:
        match sending.answer:
            case _Encoded(message=message):
                self._output.send(message)
            case GrpcFailure() as failure:
                self._send_failure(sending.slot, failure, is_final=True)
            case InferResult() as result:
                self._send_result(sending.slot, result)

    def _send_result(self, slot: _Slot, result: InferResult) -> None:
        answer = result.encode()
        if result.headers:
            self._output.set_trailers(result.headers)
        if isinstance(answer, GrpcFailure):
            self._send_failure(slot, answer, is_final=result.is_final)
            return
        if answer is None and self._response_class is not None:
            answer = self._mark(slot.message)
        if answer is not None:
            wrapped = in_stream(answer) if self._response_class is not None else answer
            self._output.send(wrapped)

    def _send_failure(self, slot: _Slot, failure: GrpcFailure, *, is_final: bool) -> None:
        if not self._carries_errors:
            self.on_client_gone()  # nobody will hear the other answers
            self._output.end(failure)
            return
        told = self._response_class(error_message=failure.message)
        message = slot.message or self._parsed(slot.encoded)
        if message is not None:
            told.infer_response.id = message.id
        if message is not None and slot.token is not None:  # it had been queued
            told.infer_response.model_name = message.model_name
            told.infer_response.model_version = message.model_version
            told.infer_response.parameters[FINAL_PARAMETER].bool_param = is_final
        self._output.send(told.SerializeToString())

    def _parsed(self, encoded: bytes) -> Any:  # noqa: ANN401  a ModelInferRequest
        """Return the request; `None` when the bytes are none."""
        try:
            return self._infer.parse(encoded)
        except MpserveError:
            return None

    def _mark(self, message: Any) -> bytes | None:  # noqa: ANN401  a ModelInferRequest
        """Return the empty answer that says that no more follow, if the client wants it."""
        if not _wants_mark(message):
            return None
        told = self._response_class().infer_response
        told.id = message.id
        told.model_name = message.model_name
        told.model_version = message.model_version
        told.parameters[FINAL_PARAMETER].bool_param = True
        encoded: bytes = told.SerializeToString()
        return encoded


def _wants_mark(message: Any) -> bool:  # noqa: ANN401  a ModelInferRequest
    parameters = message.parameters
    return EMPTY_FINAL_PARAMETER in parameters and parameters[EMPTY_FINAL_PARAMETER].bool_param
