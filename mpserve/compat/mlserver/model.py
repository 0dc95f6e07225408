# ruff: noqa: ANN401  # values are the users'
"""`MLModel`: what users subclass."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from mpserve.compat.mlserver.codecs.codec import InputCodecLike, RequestCodecLike
from mpserve.compat.mlserver.codecs.negotiation import (
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
)
from mpserve.compat.mlserver.errors import CodecNotFound
from mpserve.compat.mlserver.settings import ModelSettings
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)


class MLModel:
    """A model: override `predict`, and `load` and `unload` where there is something to do.

    Attributes
    ----------
    ready
        Whether the model takes requests; set to what `load` returned.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._inputs_index = _by_name(settings.inputs)
        self._outputs_index = _by_name(settings.outputs)
        self.ready = False

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._settings.name

    @property
    def version(self) -> str | None:
        """Version of the model, `None` when the settings have none."""
        return self._settings.version

    @property
    def settings(self) -> ModelSettings:
        """Settings of the model."""
        return self._settings

    @property
    def inputs(self) -> list[MetadataTensor]:
        """Declared inputs; may be set by `load`."""
        return self._settings.inputs

    @inputs.setter
    def inputs(self, inputs: list[MetadataTensor]) -> None:
        self._settings.inputs = inputs
        self._inputs_index = _by_name(inputs)

    @property
    def outputs(self) -> list[MetadataTensor]:
        """Declared outputs; may be set by `load`."""
        return self._settings.outputs

    @outputs.setter
    def outputs(self, outputs: list[MetadataTensor]) -> None:
        self._settings.outputs = outputs
        self._outputs_index = _by_name(outputs)

    async def load(self) -> bool:
        """Load what the model needs; the model is ready when this returns true."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        raise NotImplementedError("predict() method not implemented")

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        """Answer a stream of requests; by default with one response each."""
        async for payload in payloads:
            yield await self.predict(payload)

    async def unload(self) -> bool:
        """Let go of what `load` took."""
        return True

    async def metadata(self) -> MetadataModelResponse:
        """Return the model's metadata."""
        metadata = MetadataModelResponse(
            name=self.name,
            platform=self._settings.platform,
            versions=self._settings.versions,
            inputs=self.inputs,
            outputs=self.outputs,
        )
        if self._settings.parameters:
            content_type = self._settings.parameters.content_type
            metadata.parameters = Parameters(
                **({"content_type": content_type} if content_type else {})
            )
        return metadata

    def decode(
        self, request_input: RequestInput, default_codec: InputCodecLike | None = None
    ) -> Any:
        """Return the value of an input: by its content type, else by the default, else raw."""
        decoded = decode_request_input(request_input, self._inputs_index)
        if decoded is not None:
            return decoded
        return default_codec.decode_input(request_input) if default_codec else request_input.data

    def decode_request(
        self, inference_request: InferenceRequest, default_codec: RequestCodecLike | None = None
    ) -> Any:
        """Return the value of a request: by its content type, else by the default, else raw."""
        decoded = decode_inference_request(inference_request, self._settings, self._inputs_index)
        if decoded is not inference_request or default_codec is None:
            return decoded
        return default_codec.decode_request(inference_request)

    def encode(
        self,
        payload: Any,
        request_output: RequestOutput,
        default_codec: InputCodecLike | None = None,
    ) -> ResponseOutput:
        """Return an output of a value: by the content type, by what it is, else by the default.

        Raises
        ------
        CodecNotFound
            There is no codec for it.
        """
        output = encode_response_output(payload, request_output, self._outputs_index)
        if output is not None:
            return output
        if default_codec is None:
            raise CodecNotFound(name=request_output.name)
        return default_codec.encode_output(request_output.name, payload)

    def encode_response(
        self, payload: Any, default_codec: RequestCodecLike | None = None
    ) -> InferenceResponse:
        """Return a response of a value: by what it is, else by the default.

        Raises
        ------
        CodecNotFound
            There is no codec for it.
        """
        response = encode_inference_response(payload, self._settings)
        if response is not None:
            return response
        if default_codec is None:
            raise CodecNotFound(payload_type=str(type(payload)), is_request=True)
        return default_codec.encode_response(self.name, payload, self.version)


def _by_name(tensors: Sequence[MetadataTensor]) -> dict[str, MetadataTensor]:
    return {tensor.name: tensor for tensor in tensors}
