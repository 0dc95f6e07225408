"""A dialect: everything that one peer answers otherwise than the other."""

from collections.abc import Mapping

import msgspec

from mpserve.dialect.statuses import DialectName, Operation, StatusRow, TransportFault
from mpserve.errors import ErrorCode

__all__ = [
    "Dialect",
    "DialectName",
    "GrpcServices",
    "HealthAnswer",
    "NonFiniteWords",
    "Operation",
    "Phrases",
]


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of a health route. An empty `content_type` means: send no such header."""

    http: int
    content_type: str
    body: bytes


class Phrases(msgspec.Struct, frozen=True, kw_only=True):
    """Texts for clients, with `str.format` places `{name}` and `{version}`.

    Attributes
    ----------
    unknown_model
        No model of that name, or (MLServer) none that is loaded.
    version_of_unknown_model
        Likewise, and a version was asked for.
    unknown_version
        The model is there, the version is not.
    version_not_ready
        The version is known but loading, unloading or failed.
    no_ready_version
        A request without a version, and no version is ready.
    load_of_unknown_model
        A load call names a model that no repository has.
    load_of_broken_model
        A load call names a model whose folder can not be read; `{reason}` says why.
    control_refused
        Load or unload in a control mode that does not allow it.
    """

    unknown_model: str
    version_of_unknown_model: str
    unknown_version: str
    version_not_ready: str
    no_ready_version: str
    load_of_unknown_model: str
    load_of_broken_model: str
    control_refused: str


class NonFiniteWords(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in JSON for numbers that JSON does not have."""

    nan: bytes
    infinity: bytes
    negative_infinity: bytes


class GrpcServices(msgspec.Struct, frozen=True, kw_only=True):
    """What is served over gRPC besides the inference service.

    Attributes
    ----------
    model_repository
        MLServer's repository service of its own.
    health_watch
        `Watch` of the health service, which always has `Check`.
    """

    model_repository: bool
    health_watch: bool


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's answers.

    Attributes
    ----------
    live, not_live, ready, not_ready, model_ready
        Answers of the health routes; a model that is not ready is an error of
        `Operation.MODEL_READY`.
    general, particular, transport
        This dialect's rows of the error table (`statuses.py`).
    phrases
        Texts that differ.
    unload_of_unknown_succeeds
        Unloading what is not loaded is a success, otherwise `NOT_FOUND`.
    load_reads_body
        Load and unload calls may carry parameters; otherwise their body is not looked at.
    done_content_type
        Content type of the empty answer to a load or unload; "" for none.
    index_needs_body
        An index request without a JSON body is refused as `MALFORMED`.
    index_shows_unloaded_state
        A model on disk that was never loaded is listed as `UNAVAILABLE`, otherwise by its name
        alone.
    index_shows_empty_reason
        `reason` is a member of every index row, otherwise only of those that have one.
    answers_are_events
        Answers to inferences have CloudEvents attributes among their headers.
    makes_request_ids
        A response has an id even when the request has none.
    response_names_parameters
        Responses and their metadata have `parameters` even when they are empty.
    id_follows_names
        `id` stands behind the model's name in an inference response, otherwise it comes first.
    shape_precedes_datatype
        In the tensors of a response; otherwise `datatype` comes first.
    half_precision_in_json
        FP16 may be sent and received as JSON numbers; otherwise only as binary data.
    compresses_from_bytes
        Answers smaller than this are not compressed, whatever the client accepts.
    compresses_documents
        Likewise everything that is no inference; otherwise inferences alone are compressed.
    single_precision_as_double
        FP32 is printed as the double it equals (4.099999904632568), otherwise as shortly as
        possible.
    non_finite
        How NaN and infinities are printed.
    answers_in_kind
        Over gRPC, typed inputs are answered with typed outputs; otherwise outputs are always raw.
    reads_sequences
        Parameters of a request say to which sequence it belongs; otherwise they are the model's.
    stream_carries_errors
        A stream of inferences goes on after an error, which is one of its messages; otherwise it
        ends with the error's status.
    redirects_slashes
        A path with a slash too many or too few at its end is sent on to the one that is known.
    grpc_services
        Services besides the inference service, and whether health can be watched.
    counts_traffic
        The metrics tell what was asked by route of HTTP and method of gRPC.
    """

    name: DialectName
    live: HealthAnswer
    not_live: HealthAnswer
    ready: HealthAnswer
    not_ready: HealthAnswer
    model_ready: HealthAnswer
    general: Mapping[ErrorCode, StatusRow]
    particular: Mapping[tuple[Operation, ErrorCode], StatusRow]
    transport: Mapping[TransportFault, StatusRow]
    phrases: Phrases
    unload_of_unknown_succeeds: bool
    load_reads_body: bool
    done_content_type: str
    index_needs_body: bool
    index_shows_unloaded_state: bool
    index_shows_empty_reason: bool
    answers_are_events: bool
    makes_request_ids: bool
    response_names_parameters: bool
    id_follows_names: bool
    shape_precedes_datatype: bool
    half_precision_in_json: bool
    compresses_from_bytes: int
    compresses_documents: bool
    single_precision_as_double: bool
    non_finite: NonFiniteWords
    answers_in_kind: bool
    reads_sequences: bool
    stream_carries_errors: bool
    redirects_slashes: bool
    grpc_services: GrpcServices
    counts_traffic: bool

    def status(self, code: ErrorCode, *, operation: Operation) -> StatusRow:
        """Return how a failure of `code` in `operation` is answered."""
        return self.particular.get((operation, code)) or self.general[code]
