"""`ModelInferRequest` as MLServer reads it -> `InferRequest`.

All parameters are the model's; typed contents may be in any field; nothing is shared memory.

Source: MLServer 1.7.1 as seen running. Messages are `Any`: protobuf makes their fields at run time.
"""

from typing import Any

from mpserve.codec import proto_contents
from mpserve.codec.proto_parameters import scalars
from mpserve.codec.v2_json import element_count, json_object
from mpserve.errors import InvalidRequest
from mpserve.model.request import InferRequest, InputTensor, RequestedOutput
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype


def decode(
    message: Any,  # noqa: ANN401  see above
    *,
    model_name: str,
    signature: Signature,  # noqa: ARG001  the peer does not look at it here
) -> InferRequest:
    """Read an inference request; arguments and errors as of `v2_proto.decode`."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(
            f"model '{model_name}': {len(message.inputs)} inputs but {len(raw)} entries in "
            f"raw_input_contents; send one for each input"
        )
    inputs: dict[str, InputTensor] = {}
    for index, tensor in enumerate(message.inputs):
        if tensor.name in inputs:
            raise InvalidRequest(f"input '{tensor.name}' is given twice; send it once")
        inputs[tensor.name] = _input(tensor, raw[index] if raw else None)
    return InferRequest(
        id=message.id or None,
        inputs=tuple(inputs.values()),
        outputs=tuple(
            RequestedOutput(
                name=tensor.name,
                binary=bool(raw),
                parameters_json=json_object(dict(scalars(tensor.parameters))),
            )
            for tensor in message.outputs
        ),
        binary_by_default=bool(raw),
        parameters_json=json_object(dict(scalars(message.parameters))),
    )


def _input(tensor: Any, raw: bytes | None) -> InputTensor:  # noqa: ANN401  a message
    datatype = Datatype.__members__.get(tensor.datatype)
    if datatype is None:
        raise InvalidRequest(f"input '{tensor.name}': '{tensor.datatype}' is no datatype")
    shape = tuple(tensor.shape)
    element_count(shape, datatype, name=tensor.name)
    data = raw
    if data is None:
        data = proto_contents.read_first(tensor.contents, datatype, name=tensor.name)
    return InputTensor(
        name=tensor.name,
        datatype=datatype,
        shape=shape,
        data=data,
        parameters_json=json_object(dict(scalars(tensor.parameters))),
    )
