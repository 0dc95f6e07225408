"""Triton's answers.

Source: the server's HTTP frontend and core as specified; answers seen on 2.51 where they differ.
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
from mpserve.dialect.statuses import GENERAL, JSON, PARTICULAR, TEXT, TRANSPORT

_NAME = DialectName.TRITON
_YES = HealthAnswer(http=200, content_type=TEXT, body=b"")
_NO = HealthAnswer(http=400, content_type=TEXT, body=b"")
_UNKNOWN_MODEL = "Request for unknown model: '{name}' is not found"

TRITON: Final = Dialect(
    name=_NAME,
    live=_YES,
    not_live=_NO,
    ready=_YES,
    not_ready=_NO,
    model_ready=_YES,
    general=GENERAL[_NAME],
    particular=PARTICULAR[_NAME],
    transport=TRANSPORT[_NAME],
    phrases=Phrases(
        unknown_model=_UNKNOWN_MODEL,
        version_of_unknown_model=_UNKNOWN_MODEL,
        unknown_version="Request for unknown model: '{name}' version {version} is not found",
        version_not_ready=(
            "Request for unknown model: '{name}' version {version} is not at ready state"
        ),
        no_ready_version="Request for unknown model: '{name}' has no available versions",
        load_of_unknown_model="failed to load '{name}', failed to poll from model repository",
        load_of_broken_model="failed to load '{name}', failed to poll from model repository",
        control_refused="explicit model load / unload is not allowed if polling is enabled",
    ),
    unload_of_unknown_succeeds=True,
    load_reads_body=True,
    done_content_type=JSON,
    index_needs_body=False,
    index_shows_unloaded_state=False,
    index_shows_empty_reason=False,
    answers_are_events=False,
    makes_request_ids=False,
    response_names_parameters=False,
    id_follows_names=False,
    shape_precedes_datatype=False,
    half_precision_in_json=False,
    compresses_from_bytes=0,
    compresses_documents=False,
    single_precision_as_double=True,
    non_finite=NonFiniteWords(nan=b"NaN", infinity=b"Infinity", negative_infinity=b"-Infinity"),
    answers_in_kind=False,
    reads_sequences=True,
    stream_carries_errors=True,
    redirects_slashes=False,
    grpc_services=GrpcServices(model_repository=False, health_watch=False),
    counts_traffic=False,
)
