"""`ModelInfer`: the bytes of a request -> the bytes of its answer, for calls and for streams."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from msgspec.structs import replace

from mpserve.codec import mlserver_proto, proto_response, v2_proto
from mpserve.codec.cloud_events import Events, grpc_metadata
from mpserve.codec.header_pairs import to_pairs
from mpserve.codec.proto_infer import ProtoInfer
from mpserve.codec.proto_response import ProtoAnswer
from mpserve.codec.v2_response import AnswerContext
from mpserve.dialect import Dialect, DialectName, GrpcCode, Operation
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.frontend.grpc.arrival import grpc_arrival
from mpserve.frontend.grpc.call import Call, GrpcAnswer, GrpcFailure, Metadata, grpc_failure
from mpserve.frontend.grpc.infer_result import CallKind, InferResult, NativeResult, OnResult
from mpserve.frontend.grpc.messages import INFER_REQUEST, INFER_RESPONSE, inference_schema, parse
from mpserve.frontend.handlers.answer_context import answer_context
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.frontend.handlers.version import any_version, version_number
from mpserve.model.binary_metadata import is_binary_name
from mpserve.model.request import InferRequest
from mpserve.model.signature import Signature
from mpserve.shm.dispatcher import Answer, Dispatcher
from mpserve.telemetry import log
from mpserve.telemetry.spans import context_of

_DECOUPLED_REFUSAL: Final = (
    "ModelInfer RPC doesn't support models with decoupled transaction policy"
)


class Decode(Protocol):
    """A `ModelInferRequest` -> request."""

    def __call__(  # noqa: D102  the class says it
        self,
        message: Any,  # noqa: ANN401
        *,
        model_name: str,
        signature: Signature,
    ) -> InferRequest: ...


DECODERS: Final[Mapping[DialectName, Decode]] = {
    DialectName.TRITON: v2_proto.decode,
    DialectName.MLSERVER: mlserver_proto.decode,
}
CHECK_VERSION: Final[Mapping[DialectName, Callable[[str], str]]] = {
    DialectName.TRITON: version_number,
    DialectName.MLSERVER: any_version,
}


class GrpcInfer:
    """Inference over gRPC, whatever the transport.

    Parameters
    ----------
    events
        What all answers have besides.
    """

    def __init__(
        self,
        *,
        handler: InferHandler,
        dispatcher: Dispatcher,
        labels: LabelFiles,
        forwarding: HeaderForwarding,
        dialect: Dialect,
        events: Events,
    ) -> None:
        self._handler = handler
        self._dispatcher = dispatcher
        self._events = events
        self._forwarding = forwarding
        self._native = ProtoInfer(
            dispatcher=dispatcher,
            on_failure=self._on_failure,
            on_rare=self._on_rare_answer,
            on_headers=GrpcAnswer,
        )
        self._native.set_request_events(forwarding.events)
        self._native.set_answer_events(events.answer)
        self._labels = labels
        self._dialect = dialect
        self._decode = DECODERS[dialect.name]
        self._check_version = CHECK_VERSION[dialect.name]
        schema = inference_schema(dialect.name)
        self._request_class = schema.message(INFER_REQUEST)
        self._response_class = schema.message(INFER_RESPONSE)

    @property
    def native(self) -> ProtoInfer | None:
        """What answers the common requests without Python; `None` when each needs it."""
        return None if self._forwarding.forwards else self._native

    def answer(self, encoded: bytes, call: Call) -> None:
        """Answer a call, now or when the model has."""
        # What is common goes past protobuf's objects (bench: infer-small over gRPC).
        token = 0
        if not self._forwarding.forwards:
            token = self._native.submit(
                encoded,
                partial(_finish_native, call),
                has_context=self._has_context(call.metadata),
                headers=self._pairs(call.metadata),
                deadline_ns=call.deadline_ns,
            )
        if token:
            call.on_client_gone(partial(self._handler.cancel, token))
        else:
            self._answer_rare(encoded, call)

    def _answer_rare(self, encoded: bytes, call: Call) -> None:
        try:
            message = self.parse(encoded)
            token = self.start(
                message,
                metadata=call.metadata,
                begun_ns=call.received_ns,
                deadline_ns=call.deadline_ns,
                decoupled_refusal=_DECOUPLED_REFUSAL,
                tells_final=False,
                on_result=partial(_finish, call),
            )
        except MpserveError as error:
            call.finish(self.failure(error))
            return
        call.on_client_gone(partial(self._handler.cancel, token))

    def start_native(
        self,
        encoded: bytes,
        on_result: Callable[[NativeResult], None],
        *,
        metadata: Callable[[], Metadata],
        deadline_ns: int,
        in_stream: bool,
    ) -> int | None:
        """Submit a common request of a stream for a model with one answer; `None`: parse it.

        Parameters
        ----------
        deadline_ns
            Until when the client waits, on the monotonic clock; 0: for ever.
        in_stream
            The result is a message of Triton's stream.
        """
        if self._forwarding.forwards:
            return None
        token = self._native.submit(
            encoded,
            on_result,
            in_stream,
            has_context=self._has_context(metadata),
            headers=self._pairs(metadata),
            of_stream=True,
            deadline_ns=deadline_ns,
        )
        return token or None

    def parse(self, encoded: bytes) -> Any:  # noqa: ANN401  a ModelInferRequest
        """Return the message of a request; raises `MalformedRequest`."""
        return parse(self._request_class, encoded)

    def start(
        self,
        message: Any,  # noqa: ANN401  a ModelInferRequest
        *,
        metadata: Callable[[], Metadata],
        begun_ns: int,
        deadline_ns: int,
        decoupled_refusal: str | None,
        tells_final: bool,
        on_result: OnResult,
        kind: CallKind = CallKind.ONE_ANSWER,
    ) -> int:
        """Check and submit a request; return its token for `cancel`.

        Parameters
        ----------
        begun_ns
            When it began to come, on the monotonic clock.
        deadline_ns
            As of `start_native`.
        decoupled_refusal
            Said of a model that may answer several times; `None`: it may.
        tells_final
            An answer tells in a parameter whether it is the last.
        kind
            How many answers the client takes, and whether further requests may follow
            (`send_input`).
        on_result
            Called for each answer, never from here.

        Raises
        ------
        MpserveError
            It was refused before it was queued.
        """
        routed = self._handler.find(
            message.model_name,
            self._check_version(message.model_version),
            decoupled_refusal=decoupled_refusal,
        )
        request = self._read(message, routed, metadata)
        if kind is not CallKind.ONE_ANSWER or deadline_ns:
            request = replace(
                request,
                takes_many=kind is not CallKind.ONE_ANSWER,
                has_more_inputs=kind is CallKind.STREAM,
                deadline_ns=deadline_ns,
            )
        routed = self._handler.follow(request, routed)
        on_answer = partial(self._on_answer, request, routed, tells_final, on_result)
        return self._handler.start(
            request,
            routed=routed,
            on_answer=on_answer,
            arrival=lambda: grpc_arrival(metadata(), begun_ns),
        )

    def send_input(
        self, token: int, encoded: bytes, *, routed: RoutedModel, metadata: Callable[[], Metadata]
    ) -> None:
        """Send a further request to a model that wants one (`InferResult.wants_input`).

        Raises
        ------
        MpserveError
            It was refused; the model goes on waiting.
        """
        request = self._read(self.parse(encoded), routed, metadata)
        self._handler.send_input(token, request, routed=routed)

    def end_inputs(self, token: int) -> None:
        """Tell a model that wants a further request that there is none."""
        self._handler.end_inputs(token)

    def _read(
        self,
        message: Any,  # noqa: ANN401  a ModelInferRequest
        routed: RoutedModel,
        metadata: Callable[[], Metadata],
    ) -> InferRequest:
        config = routed.version.config
        request = self._decode(message, model_name=routed.model.name, signature=config.signature)
        if self._forwarding.forwards:
            request = self._forwarding.apply(request, _headers(_texts(metadata())))
        if config.takes_headers:
            request = self._forwarding.carry(request, _headers(metadata()), config)
        return request

    def _pairs(self, metadata: Callable[[], Metadata]) -> bytes:
        """Return the metadata as the core takes it, when some model wants it."""
        return to_pairs(_headers(metadata())) if self._dispatcher.takes_headers else b""

    def _has_context(self, metadata: Callable[[], Metadata]) -> bool:
        """Tell whether the client says which trace its request belongs to, and that matters."""
        return self._dispatcher.traces and bool(context_of(metadata()))

    def find(self, message: Any) -> RoutedModel:  # noqa: ANN401  a ModelInferRequest
        """Return the model that a request is for.

        Raises
        ------
        MpserveError
            There is no such model.
        """
        version = self._check_version(message.model_version)
        return self._handler.find(message.model_name, version, decoupled_refusal=None)

    def cancel(self, token: int) -> None:
        """Drop the answer of a request; take it back when it still waits."""
        self._handler.cancel(token)

    def failure(self, error: MpserveError) -> GrpcFailure:
        """Return how an error of an inference is told."""
        return grpc_failure(error.failure(), dialect=self._dialect, operation=Operation.INFER)

    def _on_answer(
        self,
        request: InferRequest,
        routed: RoutedModel,
        tells_final: bool,  # noqa: FBT001  bound by `partial`
        on_result: OnResult,
        answer: Answer,
    ) -> None:
        """Hand the result on."""
        encode = partial(self._encode, request, routed, tells_final, answer)
        on_result(
            InferResult(
                encode=encode,
                is_final=answer.final,
                headers=self._metadata(request, routed, answer),
                wants_input=answer.wants_input,
            )
        )

    def _metadata(self, request: InferRequest, routed: RoutedModel, answer: Answer) -> bytes:
        """Return what stands behind an answer."""
        if answer.code or answer.is_mark or answer.wants_input:
            return grpc_metadata(answer.headers, b"")
        events = self._events.of_answer(model_name=routed.model.name, answer_id=request.id)
        return grpc_metadata(answer.headers, events)

    def _encode(
        self,
        request: InferRequest,
        routed: RoutedModel,
        tells_final: bool,  # noqa: FBT001  as `_on_answer`
        answer: Answer,
    ) -> bytes | GrpcFailure | None:
        """Return the result. Nothing escapes: the dispatcher, or the transport, calls."""
        try:
            return self._result(request, routed, tells_final, answer)
        except MpserveError as error:
            return self.failure(error)
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("request.crashed", request_id=request.id, error=repr(error))
            return self._told(ErrorCode.INTERNAL, f"internal error: {error!r}")

    def _result(
        self,
        request: InferRequest,
        routed: RoutedModel,
        tells_final: bool,  # noqa: FBT001  as `_on_answer`
        answer: Answer,
    ) -> bytes | GrpcFailure | None:
        if answer.code:
            return self._told(ErrorCode(answer.code), answer.error)
        if answer.is_mark:
            return None
        return proto_response.encode(
            ProtoAnswer(
                outputs=answer.outputs,
                parameters_json=answer.parameters_json,
                is_final=answer.final if tells_final else None,
            ),
            message=self._response_class(),
            request=request,
            context=answer_context(request, routed, dialect=self._dialect, labels=self._labels),
        )

    def _on_failure(self, code: int, message: str) -> GrpcFailure:
        return self._told(ErrorCode(code), message)

    def _on_rare_answer(self, answer: Answer, in_stream: bool) -> bytes | GrpcFailure:  # noqa: FBT001  the core's call
        """Encode an answer that the native core does not; its request had nothing rare."""
        try:
            encoded = proto_response.encode(
                ProtoAnswer(
                    outputs=answer.outputs,
                    parameters_json=answer.parameters_json,
                    is_final=True if in_stream else None,
                ),
                message=self._response_class(),
                request=InferRequest(inputs=(), id=answer.request_id, binary_by_default=True),
                context=AnswerContext(
                    dialect=self._dialect,
                    model_name=answer.model_name,
                    model_version=answer.model_version,
                ),
            )
            return proto_response.in_stream(encoded) if in_stream else encoded
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("request.crashed", request_id=answer.request_id, error=repr(error))
            return self._told(ErrorCode.INTERNAL, f"internal error: {error!r}")

    def _told(self, code: ErrorCode, message: str) -> GrpcFailure:
        return grpc_failure(
            Failure(code=code, message=message), dialect=self._dialect, operation=Operation.INFER
        )


def _finish_native(call: Call, result: NativeResult) -> None:
    if isinstance(result, GrpcAnswer):
        call.set_trailers(result.headers)
        result = result.message
    call.finish(result)


def _finish(call: Call, result: InferResult) -> None:
    answer = result.encode()
    if result.headers:
        call.set_trailers(result.headers)
    if answer is None:
        message = "the model sent no response"
        answer = GrpcFailure(code=GrpcCode.INTERNAL, message=message)
    call.finish(answer)


def _texts(metadata: Metadata) -> Metadata:
    """Leave out binary metadata: parameters are texts."""
    return {name: value for name, value in metadata.items() if not is_binary_name(name)}


def _headers(metadata: Metadata) -> Iterable[tuple[bytes, bytes]]:
    return ((name.encode(), value.encode("latin-1", "replace")) for name, value in metadata.items())
