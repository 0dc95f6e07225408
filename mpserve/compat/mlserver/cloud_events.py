"""Names of the CloudEvents attributes in the headers of requests and responses."""

import enum
from typing import Final

CLOUDEVENTS_HEADER_ID: Final = "Ce-Id"
CLOUDEVENTS_HEADER_SPECVERSION: Final = "Ce-Specversion"
CLOUDEVENTS_HEADER_SOURCE: Final = "Ce-Source"
CLOUDEVENTS_HEADER_TYPE: Final = "Ce-Type"
CLOUDEVENTS_HEADER_SPECVERSION_DEFAULT: Final = "0.3"
CLOUDEVENTS_HEADER_REQUEST_ID: Final = "Ce-Requestid"
CLOUDEVENTS_HEADER_MODEL_ID: Final = "Ce-Modelid"
CLOUDEVENTS_HEADER_INFERENCE_SERVICE: Final = "Ce-Inferenceservicename"
CLOUDEVENTS_HEADER_NAMESPACE: Final = "Ce-Namespace"
CLOUDEVENTS_HEADER_ENDPOINT: Final = "Ce-Endpoint"


class CloudEventsTypes(enum.Enum):
    """Kinds of events."""

    Request = "io.seldon.serving.inference.request"
    Response = "io.seldon.serving.inference.response"
