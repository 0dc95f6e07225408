"""What the form of an answer depends on, whichever wire it goes by."""

from mpserve.codec.v2_response import AnswerContext
from mpserve.dialect import Dialect
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.model.request import InferRequest


def answer_context(
    request: InferRequest, routed: RoutedModel, *, dialect: Dialect, labels: LabelFiles
) -> AnswerContext:
    """Return the context; label files are read only for who asks for classes."""
    wants_classes = any(output.classification for output in request.outputs)
    return AnswerContext(
        dialect=dialect,
        model_name=routed.model.name,
        model_version=routed.version.version,
        batches=routed.version.config.signature.max_batch_size > 0,
        labels=labels.labels(routed) if wants_classes else {},
    )
