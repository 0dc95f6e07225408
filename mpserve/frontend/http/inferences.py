"""Every way to ask for an inference over HTTP."""

from collections.abc import Mapping

from mpserve.codec.cloud_events import Events
from mpserve.dialect import Dialect
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.frontend.http.endpoints import StartInference
from mpserve.frontend.http.generate import HttpGenerate
from mpserve.frontend.http.handler_paths import HandlerPaths
from mpserve.frontend.http.infer import HttpInfer
from mpserve.frontend.http.infer_stream import HttpInferStream
from mpserve.frontend.http.routes import Endpoint


def make_inferences(
    *,
    handler: InferHandler,
    labels: LabelFiles,
    forwarding: HeaderForwarding,
    dialect: Dialect,
    max_input_bytes: int,
    events: Events,
    root_path: str = "",
    compresses: bool = True,
) -> Mapping[Endpoint, StartInference]:
    """Return how each of the endpoints starts its inference."""
    infer = HttpInfer(
        handler=handler,
        labels=labels,
        forwarding=forwarding,
        dialect=dialect,
        max_input_bytes=max_input_bytes,
        events=events,
        compresses=compresses,
    )
    stream = HttpInferStream(handler=handler, infer=infer, events=events, dialect=dialect)
    generate = HttpGenerate(
        handler=handler, forwarding=forwarding, dialect=dialect, max_input_bytes=max_input_bytes
    )
    return {
        Endpoint.INFER: infer.answer,
        Endpoint.INFER_STREAM: stream.answer,
        Endpoint.GENERATE: generate.answer,
        Endpoint.GENERATE_STREAM: generate.stream,
        Endpoint.HANDLER: HandlerPaths(
            handler=handler, dialect=dialect, root_path=root_path
        ).answer,
    }
