# ruff: noqa: ANN401  # values are the users'
"""Shapes of the V2 protocol as MLServer models see them: the names of `mlserver.types`.

Source: KServe V2 inference protocol; members and defaults of MLServer 1.7.1.
"""

import enum
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mpserve.compat.mlserver.shape import MISSING, Extra, Members, RootShape, Shape


class Datatype(enum.Enum):
    """Element types of the protocol. Members of shapes hold the plain word, e.g. `"FP32"`."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class State(enum.Enum):
    """States of a model in the repository index."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


class Parameters(Shape):
    """Parameters of a request, a tensor or a response; any further member is kept."""

    _extra = Extra.ALLOW

    content_type: str | None = None
    headers: dict[str, Any] | None = None

    @classmethod
    def with_headers(cls, values: Members, make_headers: Callable[[], Members]) -> "Parameters":
        """Return parameters whose headers are made when they are looked at."""
        kind = _ParametersOfRequest
        parameters = kind(**values) if values else kind.model_construct()
        attributes = parameters.__dict__
        attributes.pop("headers", None)
        attributes["_make_headers"] = make_headers
        attributes["_fields_set"].add("headers")
        return parameters


class _ParametersOfRequest(Parameters):
    """Most models never look at the headers of a request, which cost more than all else of it."""

    _make_headers: Callable[[], Members]

    @property
    def headers(self) -> Members | None:
        attributes = self.__dict__
        if "headers" not in attributes:
            attributes["headers"] = self._make_headers()
        made: Members | None = attributes["headers"]
        return made

    @headers.setter
    def headers(  # pyright: ignore[reportIncompatibleVariableOverride]  # of the base a value
        self, headers: Members | None
    ) -> None:
        self.__dict__["headers"] = headers

    def _public(self) -> Members:
        self.headers  # noqa: B018  # it is made
        return super()._public()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parameters) and self._public() == other._public()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __reduce__(self) -> tuple[Any, ...]:
        # What is copied, or sent to another process, is like any other.
        return Parameters, (), {**self._public(), "_fields_set": self._fields_set}


_ParametersOfRequest.model_fields = Parameters.model_fields  # the property is no default
_ParametersOfRequest.__name__ = _ParametersOfRequest.__qualname__ = Parameters.__name__


class TensorData(RootShape):
    """Elements of a tensor.

    `root` is what was given, mostly a list. A tensor that came from shared memory, or that a codec
    made of an array, keeps the array and makes the list when `root` is asked for.
    """

    def __init__(self, root: Any = MISSING, **values: Any) -> None:
        root = values.pop("root", root)
        super().__init__(root)

    @classmethod
    def of_array(cls, array: npt.NDArray[Any]) -> Self:  # any datatype
        """Return the elements of an array, flat, without making a list now."""
        instance = cls.__new__(cls)
        instance.__dict__["_fields_set"] = {"root"}
        instance.__dict__["_array"] = array
        return instance

    @property
    def array(self) -> npt.NDArray[Any] | None:
        """The array the elements come from, or `None`."""
        return self.__dict__.get("_array")

    def __getattr__(self, name: str) -> Any:
        # Only reached while `root` is not made yet.
        if name != "root" or "_array" not in self.__dict__:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        made = self.__dict__["root"] = _elements(self.__dict__["_array"])
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "root":
            self.__dict__.pop("_array", None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorData):
            return NotImplemented
        return bool(self.root == other.root)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def _public(self) -> dict[str, Any]:
        return {"root": self.root}


def _elements(array: npt.NDArray[Any]) -> list[Any]:
    """Return the elements as JSON would hold them: numbers, `None` for NaN, text where it is."""
    elements: list[Any] = array.ravel().tolist()
    if array.dtype.kind == "f" and np.isnan(array).any():
        return [None if element != element else element for element in elements]  # noqa: PLR0124
    return elements


class MetadataTensor(Shape):
    """A declared input or output."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: Parameters | None = None


class RequestInput(Shape):
    """An input tensor of a request."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class RequestOutput(Shape):
    """An output the client asks for."""

    name: str
    parameters: Parameters | None = None


class ResponseOutput(Shape):
    """An output tensor of a response."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class InferenceRequest(Shape):
    """What `predict` is given."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None = None


class InferenceResponse(Shape):
    """What `predict` returns."""

    model_name: str
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[ResponseOutput]


class InferenceErrorResponse(Shape):
    """Body of a failed inference."""

    error: str | None = None


class MetadataModelResponse(Shape):
    """What `metadata` returns."""

    name: str
    versions: list[str] | None = None
    platform: str
    inputs: list[MetadataTensor] | None = None
    outputs: list[MetadataTensor] | None = None
    parameters: Parameters | None = None


class MetadataModelErrorResponse(Shape):
    """Body of failed model metadata."""

    error: str


class MetadataServerResponse(Shape):
    """Server metadata."""

    name: str
    version: str
    extensions: list[str]


class MetadataServerErrorResponse(Shape):
    """Body of failed server metadata."""

    error: str


class RepositoryIndexRequest(Shape):
    """Filter of the repository index."""

    ready: bool | None = None


class RepositoryIndexResponseItem(Shape):
    """One row of the repository index."""

    name: str
    version: str | None = None
    state: State
    reason: str


class RepositoryIndexResponse(RootShape):
    """The repository index."""

    root: list[RepositoryIndexResponseItem]


class RepositoryLoadErrorResponse(Shape):
    """Body of a failed load."""

    error: str | None = None


class RepositoryUnloadErrorResponse(Shape):
    """Body of a failed unload."""

    error: str | None = None
