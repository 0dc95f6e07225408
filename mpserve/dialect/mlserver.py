"""MLServer's answers.

Source: MLServer 1.7.1 as seen running. Its health routes answer with an empty body; KServe's Python
client reads JSON there, so mpserve sends it. It has no health service over gRPC, which
costs its clients nothing.
"""

from typing import Final

from mpserve.dialect.dialect import (
    Dialect,
    DialectName,
    GrpcServices,
    HealthAnswer,
    NonFiniteWords,
    Phrases,
)
from mpserve.dialect.statuses import GENERAL, JSON, PARTICULAR, TRANSPORT

_NAME = DialectName.MLSERVER
_NOT_FOUND = "Model {name} not found"
_VERSION_NOT_FOUND = "Model {name} with version {version} not found"

MLSERVER: Final = Dialect(
    name=_NAME,
    live=HealthAnswer(http=200, content_type=JSON, body=b'{"live":true}'),
    not_live=HealthAnswer(http=503, content_type=JSON, body=b'{"live":false}'),
    ready=HealthAnswer(http=200, content_type=JSON, body=b'{"ready":true}'),
    not_ready=HealthAnswer(http=503, content_type=JSON, body=b'{"ready":false}'),
    model_ready=HealthAnswer(http=200, content_type="", body=b""),
    general=GENERAL[_NAME],
    particular=PARTICULAR[_NAME],
    transport=TRANSPORT[_NAME],
    phrases=Phrases(
        unknown_model=_NOT_FOUND,
        version_of_unknown_model=_VERSION_NOT_FOUND,
        unknown_version=_VERSION_NOT_FOUND,
        version_not_ready=_NOT_FOUND,
        no_ready_version=_NOT_FOUND,
        load_of_unknown_model=_NOT_FOUND,
        load_of_broken_model="model '{name}' can not be read: {reason}",
        control_refused="model '{name}': load and unload need --model-control-mode=explicit",
    ),
    unload_of_unknown_succeeds=False,
    load_reads_body=False,
    done_content_type="",
    index_needs_body=True,
    index_shows_unloaded_state=True,
    index_shows_empty_reason=True,
    answers_are_events=True,
    makes_request_ids=True,
    response_names_parameters=True,
    id_follows_names=True,
    shape_precedes_datatype=True,
    half_precision_in_json=True,
    compresses_from_bytes=500,
    compresses_documents=True,
    single_precision_as_double=True,
    non_finite=NonFiniteWords(nan=b"null", infinity=b"null", negative_infinity=b"null"),
    answers_in_kind=True,
    reads_sequences=False,
    stream_carries_errors=False,
    redirects_slashes=True,
    grpc_services=GrpcServices(model_repository=True, health_watch=True),
    counts_traffic=True,
)
