# ruff: noqa: ANN401, FBT001, FBT002  # values are the users', signatures the peer's
"""Lists of one element type as BYTES: what the codecs of text, raw bytes and points in time share.

A subclass says how one element is written and read, and of which type a list has to be.
"""

from typing import Any, ClassVar

from mpserve.compat.mlserver.codecs.codec import InputCodec
from mpserve.compat.mlserver.codecs.lists import flat_list, is_list_of
from mpserve.compat.mlserver.types import Parameters, RequestInput, ResponseOutput


class ListCodec(InputCodec):
    """Between a list and a BYTES tensor of shape `[n, 1]`.

    Attributes
    ----------
    ElementType
        Type of each element of a list that the codec is chosen for.
    """

    ElementType: ClassVar[type]

    @classmethod
    def encode_element(cls, element: Any) -> bytes:
        """Return one element as it is sent."""
        raise NotImplementedError

    @classmethod
    def decode_element(cls, element: Any) -> Any:
        """Return the value of one element, which came as text or as `bytes`."""
        raise NotImplementedError

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is a list of the codec's elements."""
        return is_list_of(payload, cls.ElementType)

    @classmethod
    def encode_output(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> ResponseOutput:
        """Return an output of the elements; with `use_bytes=False` they are `str`."""
        del kwargs
        encoded = [cls.encode_element(element) for element in payload]
        return ResponseOutput(
            name=name,
            datatype="BYTES",
            shape=[len(encoded), 1],
            data=encoded if use_bytes else [element.decode() for element in encoded],
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[Any]:
        """Return the values of an output."""
        return [cls.decode_element(element) for element in flat_list(response_output.data)]

    @classmethod
    def encode_input(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> RequestInput:
        """Return an input of the elements; with `use_bytes=False` they are `str`."""
        output = cls.encode_output(name, payload, use_bytes, **kwargs)
        return RequestInput.model_construct(**dict(output))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[Any]:
        """Return the values of an input."""
        return [cls.decode_element(element) for element in flat_list(request_input.data)]
