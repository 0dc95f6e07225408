"""A client of an inference service: the name of `mlserver.grpc.dataplane_pb2_grpc`."""

from typing import Any, Final

from mpserve.model.proto.schema import MLSERVER_DATAPLANE, schema

_SERVICE: Final = "inference.GRPCInferenceService"


class GRPCInferenceServiceStub:
    """Has a method for each of the service's, on a channel of `grpc` or `grpc.aio`."""

    def __init__(self, channel: Any) -> None:  # noqa: ANN401  # of either kind
        messages = schema(MLSERVER_DATAPLANE)
        for method in messages.services()[_SERVICE].methods:
            kind = "stream_stream" if method.client_streaming else "unary_unary"
            call = getattr(channel, kind)(
                f"/{_SERVICE}/{method.name}",
                request_serializer=messages.message(method.input_type.full_name).SerializeToString,
                response_deserializer=messages.message(method.output_type.full_name).FromString,
            )
            setattr(self, method.name, call)
