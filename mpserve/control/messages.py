"""Messages on the control sockets. Tensor bytes never travel here.

Each direction is a closed union of tagged Structs, encoded as MessagePack. Adding a message means a
new Struct; `assert_never` finds every place that must learn it.
"""

import msgspec

from mpserve.control.message import Message
from mpserve.control.region_messages import PublishRegions, RegionCall, RegionsAcknowledged
from mpserve.control.setting_messages import ChangeSettings, SettingsTaken
from mpserve.control.trace_messages import SetTracing, TraceCall, TraceReply
from mpserve.errors import Failure
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.event import EventPage
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version
from mpserve.model.log_switches import LogChange, LogSwitches
from mpserve.model.logging_setup import LoggingSetup
from mpserve.model.state import IndexRow, ModelState
from mpserve.model.trace_setting import SpanExport, TraceRow
from mpserve.telemetry.model_metrics import MetricFamily

# --- what a child process is told at its start -------------------------------------------------


class SharedPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process finds the shared memory of the server.

    Attributes
    ----------
    server_id
        Part of every segment's name (`mpserve.shm.segment`).
    board_segment
        Process table: index -> epoch.
    process_index, epoch
        Identity of the process in the board; an epoch is never reused for an index.
    ring_segments, wake_fds
        Completion ring and eventfd of each frontend, in order of the frontends. The descriptors are
        inherited and have the same numbers in every process.
    door_fd
        Inherited outer end of the server's door (`mpserve.control.door`); -1 for none.
    """

    server_id: str
    board_segment: str
    process_index: int
    epoch: int
    ring_segments: tuple[str, ...]
    wake_fds: tuple[int, ...]
    arena_initial_bytes: int
    arena_max_bytes: int
    door_fd: int = -1


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to load and serve one instance.

    Attributes
    ----------
    instance_name
        Triton's name of the instance, `<group>_<k>`.
    instance_slot
        Index in the model queue's instance table.
    model_directory, version_directory
        Absolute paths.
    user
        Name of the user that it runs as, where that is not the server's; else "".
    complete_config
        This worker asks the model to complete the configuration before it loads (first instance of
        a load only).
    passive
        The instance loads, but is given no request.
    expects_answers
        The instance that it replaces has answered requests: it has memory for answers beforehand.
    cpus
        CPUs that it is bound to, empty for none.
    limiter_segment
        Of the rate limiter, in which the process is enrolled; "" for none.
    span_export
        Where the spans of traces go.
    logging
        How Python's `logging` is set up.
    """

    instance: InstanceKey
    instance_name: str
    instance_kind: str
    instance_slot: int
    places: SharedPlaces
    queue_segment: str
    runtime: str
    format: ConfigFormat
    model_directory: str
    version_directory: str
    config: ModelConfig
    config_json: str
    settings_json: str
    complete_config: bool
    log: LogSwitches
    passive: bool = False
    expects_answers: bool = False
    user: str = ""
    cpus: tuple[int, ...] = ()
    limiter_segment: str = ""
    span_export: SpanExport = SpanExport()
    logging: LoggingSetup = LoggingSetup()


class FrontendStart(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a frontend needs to serve.

    `settings_json` is the encoded `mpserve.settings.Settings`; `http_fd` the inherited socket to
    listen on, -1 for none; one that is lent is somebody else's, who goes on listening; `grpc_fd`
    likewise for gRPC; `regions` what clients have registered before; `tracing` as of
    `SetTracing`.
    """

    frontend_index: int
    places: SharedPlaces
    settings_json: bytes
    regions: PublishRegions = PublishRegions()
    tracing: dict[str, TraceRow | None] = {}
    http_fd: int = -1
    is_http_fd_lent: bool = False
    grpc_fd: int = -1
    is_grpc_fd_lent: bool = False


# --- supervisor <-> worker ----------------------------------------------------------------------


class StopWorker(Message, frozen=True, kw_only=True):
    """The queue was retired: finish what is queued, finalize the model, exit with 0."""


class WorkerReady(Message, frozen=True, kw_only=True):
    """The instance is loaded and takes requests.

    `config` and `config_json` are the completed ones (equal to what was sent when nothing was
    completed).
    """

    config: ModelConfig
    config_json: str
    load_ms: int


class WorkerChecked(Message, frozen=True, kw_only=True):
    """What a model that checks itself says: why it is not ready, "" when it is.

    Told before `WorkerReady` when there is something to complain of, and whenever it changes.
    """

    complaint: str


class WorkerLoadFailed(Message, frozen=True, kw_only=True):
    """The model raised while it loaded; the worker exits after this.

    `failure.message` is what the client gets; `traceback` goes to the log.
    """

    failure: Failure
    traceback: str


class SetLog(Message, frozen=True, kw_only=True):
    """Write to the log what `switches` say, from now on. Also for frontends."""

    switches: LogSwitches


class JoinCallers(Message, frozen=True, kw_only=True):
    """The model is about to send requests to models: tell the routing table from now on."""


class CallersJoined(Message, frozen=True, kw_only=True):
    """Answer to `JoinCallers`; the whole table follows, then its changes.

    Attributes
    ----------
    process_index, epoch
        Identity of the worker's requests in the board; both 0 after a failure.
    ring_index
        Its place among those who push into queues, behind the frontends'.
    """

    process_index: int = 0
    epoch: int = 0
    ring_index: int = 0
    failure: Failure | None = None


# --- supervisor <-> frontend --------------------------------------------------------------------


class VersionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a frontend knows of one version. `queue_segment` is "" for one without a queue.

    `complaint` is why a version that takes requests says that it is not ready, else "".
    """

    version: Version
    state: ModelState
    reason: str
    generation: Generation
    queue_segment: str
    config: ModelConfig
    config_json: str
    complaint: str = ""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a frontend knows of one model.

    `versions` ascend; a request without a version goes to the last READY one. `settings_json` is
    the MLServer `model-settings.json`, else "". `directory` is where label files lie. `earlier`
    are generations, newest first, that take only requests of sequences which have begun in them.
    """

    name: ModelName
    format: ConfigFormat
    runtime: str
    directory: str
    settings_json: str
    versions: tuple[VersionEntry, ...]
    earlier: tuple[VersionEntry, ...] = ()


class PublishTable(Message, frozen=True, kw_only=True):
    """Change of the routing table; a frontend answers with `TableAcknowledged` of its number.

    Frontends apply `removed`, then `changed` (whole entries). `server_ready` and `server_live`
    are the answers of the health routes from now on.
    """

    number: int
    changed: tuple[ModelEntry, ...]
    removed: tuple[ModelName, ...]
    server_ready: bool
    server_live: bool


class TableAcknowledged(Message, frozen=True, kw_only=True):
    """No request goes to a queue that the table of this number no longer names, but to those held.

    Attributes
    ----------
    held
        Generations that requests of ensembles which began before this table still need. Told again,
        with the same number, when there are fewer.
    """

    number: int
    held: tuple[Generation, ...] = ()


class FrontendReady(Message, frozen=True, kw_only=True):
    """The sockets listen."""

    http_port: int


class FrontendFailed(Message, frozen=True, kw_only=True):
    """The frontend can not serve (a port in use); it exits after this."""

    failure: Failure


class StopFrontend(Message, frozen=True, kw_only=True):
    """Close the listeners, finish what is in flight until the deadline, exit with 0."""

    grace_ms: int


class LoadCall(Message, frozen=True, kw_only=True):
    """Load request of a client.

    `config` is the override, "" for none; `files` maps relative paths to contents.
    """

    call_id: int
    name: str
    config: str
    files: dict[str, bytes]


class UnloadCall(Message, frozen=True, kw_only=True):
    """Unload request of a client."""

    call_id: int
    name: str
    unload_dependents: bool


class IndexCall(Message, frozen=True, kw_only=True):
    """Repository index request of a client."""

    call_id: int
    ready_only: bool


class EventsCall(Message, frozen=True, kw_only=True):
    """Request of a client for the events after number `since` of one model, "" for all."""

    call_id: int
    model: str
    since: int


class LoggingCall(Message, frozen=True, kw_only=True):
    """Request of a client for the switches of the log, after a change of them."""

    call_id: int
    change: LogChange


class CallDone(Message, frozen=True, kw_only=True):
    """Answer to a call that tells nothing; `failure` is `None` on success."""

    call_id: int
    failure: Failure | None


class IndexReply(Message, frozen=True, kw_only=True):
    """Answer to an index call, sorted by name, then version."""

    call_id: int
    rows: tuple[IndexRow, ...]


class EventsReply(Message, frozen=True, kw_only=True):
    """Answer to an events call."""

    call_id: int
    page: EventPage


class LoggingReply(Message, frozen=True, kw_only=True):
    """Answer to a logging call."""

    call_id: int
    switches: LogSwitches


ToFrontend = (
    PublishTable
    | PublishRegions
    | StopFrontend
    | SetLog
    | SetTracing
    | ChangeSettings
    | CallDone
    | IndexReply
    | EventsReply
    | LoggingReply
    | TraceReply
)
FromFrontend = (
    TableAcknowledged
    | RegionsAcknowledged
    | SettingsTaken
    | FrontendReady
    | FrontendFailed
    | LoadCall
    | UnloadCall
    | IndexCall
    | EventsCall
    | LoggingCall
    | TraceCall
    | RegionCall
)


class TellMetrics(Message, frozen=True, kw_only=True):
    """Somebody looks at the metrics: tell what the model has counted, and this number with it."""

    question: int


class WorkerMetrics(Message, frozen=True, kw_only=True):
    """All that the model of a worker has counted since its start.

    `question` is that of the `TellMetrics` that it answers, 0 for none.
    """

    families: tuple[MetricFamily, ...]
    question: int = 0


ToWorker = StopWorker | SetLog | TellMetrics | CallersJoined | PublishTable | CallDone
FromWorker = (
    WorkerReady
    | WorkerChecked
    | WorkerLoadFailed
    | WorkerMetrics
    | JoinCallers
    | LoadCall
    | UnloadCall
)
