# ruff: noqa: ANN401  # values are the users'
"""What a codec is: between a tensor, or a whole request, and one Python value."""

from typing import Any, ClassVar

from mpserve.compat.mlserver.codecs.decoded import get_decoded, has_decoded
from mpserve.compat.mlserver.errors import CodecError
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)

DefaultInputPrefix = "input-"
DefaultOutputPrefix = "output-"


class InputCodec:
    """Between one tensor and one Python value.

    Attributes
    ----------
    ContentType
        Word in `parameters.content_type` that asks for this codec.
    TypeHint
        Annotation in `predict` that asks for this codec.
    """

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = type(None)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is of the codec's kind."""
        del payload
        return False

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """Return the tensor of a response that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """Return the value a response's tensor holds."""
        raise NotImplementedError

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """Return the tensor of a request that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """Return the value a request's tensor holds."""
        raise NotImplementedError

    @classmethod
    def encode(cls, name: str, payload: Any) -> ResponseOutput:
        """Return `encode_output(name, payload)`: the old name."""
        return cls.encode_output(name, payload)

    @classmethod
    def decode(cls, request_input: RequestInput) -> Any:
        """Return `decode_input(request_input)`: the old name."""
        return cls.decode_input(request_input)


class RequestCodec:
    """Between all tensors of a request and one Python value; attributes as in `InputCodec`."""

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = type(None)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is of the codec's kind."""
        del payload
        return False

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """Return the response that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """Return the value a response holds."""
        raise NotImplementedError

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """Return the request that holds `payload`."""
        raise NotImplementedError

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """Return the value a request holds."""
        raise NotImplementedError

    @classmethod
    def encode(
        cls, model_name: str, payload: Any, model_version: str | None = None
    ) -> InferenceResponse:
        """Return `encode_response(model_name, payload, model_version)`: the old name."""
        return cls.encode_response(model_name, payload, model_version)

    @classmethod
    def decode(cls, request: InferenceRequest) -> Any:
        """Return `decode_request(request)`: the old name."""
        return cls.decode_request(request)


_InputCodecClass = type[InputCodec]
InputCodecLike = type[InputCodec] | InputCodec
RequestCodecLike = type[RequestCodec] | RequestCodec
Codec = InputCodecLike | RequestCodecLike
InputOrOutput = RequestInput | ResponseOutput


class SingleInputRequestCodec(RequestCodec):
    """A request codec for requests of one tensor, which `InputCodec` decodes."""

    InputCodec: ClassVar[_InputCodecClass]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is of the codec's kind."""
        return cls.InputCodec.can_encode(payload)

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """Return the response of one output, `output-1`."""
        output = cls.InputCodec.encode_output(f"{DefaultOutputPrefix}1", payload, **kwargs)
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            parameters=Parameters(content_type=cls.ContentType),
            outputs=[output],
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """Return the value of the response's only output."""
        return cls.InputCodec.decode_output(cls._only(response.outputs, kind="output"))

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """Return the request of one input, `input-1`."""
        return InferenceRequest(
            parameters=Parameters(content_type=cls.ContentType),
            inputs=[cls.InputCodec.encode_input(f"{DefaultInputPrefix}1", payload, **kwargs)],
        )

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """Return the value of the only input; an input that is already decoded stays as it is."""
        request_input = cls._only(request.inputs, kind="input")
        if has_decoded(request_input):
            return get_decoded(request_input)
        return cls.InputCodec.decode_input(request_input)

    @classmethod
    def _only(cls, tensors: list[Any], *, kind: str) -> Any:
        if len(tensors) != 1:
            raise CodecError(
                f"The '{cls.ContentType}' codec only supports a single {kind} tensor"
                f" ({len(tensors)} were received)"
            )
        return tensors[0]
