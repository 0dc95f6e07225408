"""Between requests of mpserve and the shapes that MLServer models see.

The shapes come from the compatible package, which keeps arrays as they are, or from the real one,
which is given lists.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import orjson

from mpserve.compat.mlserver import types as compatible_types
from mpserve.compat.mlserver.codecs.numpy import DTYPE_OF
from mpserve.errors import InvalidRequest, ModelError
from mpserve.model.tensor import Datatype
from mpserve.runtimes.mlserver_headers import request_headers, take_response_headers
from mpserve.runtimes.protocol import Request, Tensor
from mpserve.runtimes.responses import Answer, Output

Array = npt.NDArray[Any]  # any of the datatypes


def to_inference_request(
    request: Request,
    types: Any = compatible_types,  # noqa: ANN401  # either package's
    *,
    model_name: str = "",
) -> Any:  # noqa: ANN401
    """Return the request as `types.InferenceRequest`.

    Parameters
    ----------
    types
        Module `mlserver.types`, the compatible or the real one.
    model_name
        Told among the headers, where the request carries some.

    Raises
    ------
    InvalidRequest
        An input is of a datatype that MLServer does not know.
    """
    names = request.requested_output_names()
    given_id = request.request_id()
    if pairs := request.headers():
        text = request.parameters()
        make = partial(request_headers, pairs, model_name=model_name, request_id=given_id)
        parameters = _with_headers(types, orjson.loads(text) if text else {}, make)
    else:
        parameters = _parameters(types, request.parameters()) or types.Parameters.model_construct()
    # Unchecked: all members are of their types already.
    return types.InferenceRequest.model_construct(
        id=given_id or str(uuid4()),
        parameters=parameters,
        inputs=[_request_input(tensor, types) for tensor in request.inputs()],
        outputs=[_request_output(name, request, types) for name in names] or None,
    )


def to_answer(response: Any) -> Answer:  # noqa: ANN401  # a user's model made it
    """Return what `predict` returned as outputs of arrays.

    Raises
    ------
    ModelError
        It is no response, or an output's data does not fit its shape or datatype.
    """
    outputs = getattr(response, "outputs", None)
    if outputs is None:
        raise ModelError(
            f"predict returned {type(response).__name__}; it must return an InferenceResponse"
        )
    parameters = _given(response.parameters)
    headers = take_response_headers(parameters)
    return Answer(
        outputs=[to_output(output) for output in outputs],
        parameters_json=_json(parameters),
        headers=headers,
    )


def to_output(output: Any) -> Output:  # noqa: ANN401  # either package's ResponseOutput
    """Return one output tensor with its elements as an array.

    Raises
    ------
    ModelError
        The data does not fit the shape or the datatype.
    """
    shape = list(output.shape)
    try:
        array = _elements(output).reshape(shape)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"output '{output.name}' of shape {shape} and datatype {output.datatype} does not fit"
            f" its data: {error}"
        ) from error
    return Output(name=output.name, array=array, parameters_json=_json(_given(output.parameters)))


def bytes_array(elements: Sequence[Any]) -> Array:
    """Return texts or `bytes` as a flat object array of `bytes`.

    Raises
    ------
    TypeError
        An element is neither.
    """
    array = np.empty(len(elements), dtype=object)
    for index, element in enumerate(elements):
        if isinstance(element, str):
            array[index] = element.encode()
        elif isinstance(element, bytes):
            array[index] = element
        else:
            raise TypeError(f"element {index} is {type(element).__name__}, not text or bytes")
    return array


def text_elements(array: Array) -> list[Any]:
    """Return the elements of a `BYTES` tensor, flat: as `str` where all are UTF-8, else `bytes`.

    A client that sends JSON sends text, and MLServer's models then see `str`.
    """
    elements: list[Any] = array.ravel().tolist()
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        return elements


def _request_input(tensor: Tensor, types: Any) -> Any:  # noqa: ANN401
    datatype = tensor.datatype_name()
    if datatype not in DTYPE_OF and datatype != Datatype.BYTES.name:
        raise InvalidRequest(
            f"input '{tensor.name()}' has datatype {datatype}, which MLServer models do not take;"
            " send FP32"
        )
    return types.RequestInput.model_construct(
        name=tensor.name(),
        shape=list(tensor.shape()),
        datatype=datatype,
        parameters=_parameters(types, tensor.parameters_json()),
        data=_tensor_data(tensor, types),
    )


def _tensor_data(tensor: Tensor, types: Any) -> Any:  # noqa: ANN401
    array = tensor.as_numpy()
    if tensor.datatype_name() == Datatype.BYTES.name:
        return types.TensorData(text_elements(array))
    keep_array = getattr(types.TensorData, "of_array", None)  # the compatible package's
    return keep_array(array) if keep_array else types.TensorData(array.ravel().tolist())


def _request_output(name: str, request: Request, types: Any) -> Any:  # noqa: ANN401
    parameters = _parameters(types, request.output_parameters_json(name))
    return types.RequestOutput.model_construct(name=name, parameters=parameters)


def _elements(output: Any) -> Array:  # noqa: ANN401
    """Return the elements of an output as a flat array."""
    array = getattr(output.data, "array", None)
    if array is not None and array.dtype == DTYPE_OF.get(output.datatype):
        return np.asarray(array).ravel()
    root = getattr(output.data, "root", output.data)
    if output.datatype == Datatype.BYTES.name:
        return bytes_array(_flat([root] if isinstance(root, str | bytes) else root))
    return np.asarray(root, dtype=DTYPE_OF[output.datatype]).ravel()


def _flat(elements: Any) -> list[Any]:  # noqa: ANN401
    flat: list[Any] = []
    for element in elements:
        if isinstance(element, list | tuple | np.ndarray):
            flat.extend(_flat(element))
        else:
            flat.append(element)
    return flat


def _parameters(types: Any, text: str) -> Any:  # noqa: ANN401
    return types.Parameters(**orjson.loads(text)) if text else None


def _with_headers(types: Any, values: dict[str, Any], make: Callable[[], dict[str, str]]) -> Any:  # noqa: ANN401
    make_later = getattr(types.Parameters, "with_headers", None)  # the compatible package's
    if make_later is not None:
        return make_later(values, make)
    return types.Parameters(**{**values, "headers": make()})


def _given(parameters: Any) -> dict[str, Any]:  # noqa: ANN401  # either package's, or None
    if parameters is None:
        return {}
    return {
        name: value
        for name, value in parameters.model_dump(exclude_none=True).items()
        if not name.startswith("_")
    }


def _json(parameters: dict[str, Any]) -> str:
    return orjson.dumps(parameters).decode() if parameters else ""
