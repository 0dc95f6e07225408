"""Messages of MLServer's gRPC service: the names of `mlserver.grpc.dataplane_pb2`.

For models that call others over gRPC, as steps of a pipeline do. The classes are those of mpserve's
own schema, in a pool of their own.
"""

from typing import Any, Final

from mpserve.model.proto.schema import MLSERVER_DATAPLANE, schema

_SCHEMA: Final = schema(MLSERVER_DATAPLANE)
DESCRIPTOR: Final = _SCHEMA.file(MLSERVER_DATAPLANE)

ModelInferRequest: Any = _SCHEMA.message("inference.ModelInferRequest")
ModelInferResponse: Any = _SCHEMA.message("inference.ModelInferResponse")
InferParameter: Any = _SCHEMA.message("inference.InferParameter")
InferTensorContents: Any = _SCHEMA.message("inference.InferTensorContents")

globals().update(
    (name, _SCHEMA.message(f"inference.{name}")) for name in DESCRIPTOR.message_types_by_name
)
