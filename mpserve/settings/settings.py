"""Everything the server was told at its start. Frozen, handed down, encodable as JSON.

Made by `mpserve.settings.reading` from flags, environment, file and dialect defaults; after that
nobody reads `os.environ` or `sys.argv`.
"""

import enum

import msgspec

from mpserve.dialect import DialectName
from mpserve.model.log_switches import LogSwitches
from mpserve.model.logging_setup import LoggingSetup
from mpserve.model.trace_setting import SpanExport, TraceSetting
from mpserve.settings.client_limits import ClientLimits
from mpserve.settings.grpc_settings import GrpcSettings
from mpserve.settings.http_settings import HttpSettings
from mpserve.settings.worker_user import WorkerUser

MIB = 1 << 20


class ModelControlMode(enum.Enum):
    """Who decides which models are loaded. Spelled as Triton's flag."""

    NONE = "none"
    """All at the start, then no change."""
    EXPLICIT = "explicit"
    """Clients, by load and unload calls."""
    POLL = "poll"
    """The content of the repository, watched."""


class RateLimitMode(enum.Enum):
    """Whether executions take resources first."""

    OFF = "off"
    EXECUTION_COUNT = "execution_count"


class Allocator(enum.Enum):
    """Which library serves `malloc` in workers."""

    MALLOC = "malloc"
    """The C library's own."""
    TCMALLOC = "tcmalloc"
    JEMALLOC = "jemalloc"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wants of the server; every field has a row in the table of flags.

    Attributes
    ----------
    dialect
        Decides defaults, statuses and bodies (`mpserve.dialect.DIALECTS[settings.dialect]`).
    model_repositories
        Absolute paths, sorted, without duplicates; at least one.
    load_models
        Names to load at the start in `EXPLICIT` mode; `("*",)` for all. MLServer's
        `load_models_at_startup` is this in other words.
    repository_poll_secs
        Seconds between scans; 0 when the repository is not polled.
    exit_on_error
        End with exit code 1 when a model fails to load at the start.
    strict_readiness
        The server is ready only while every model is.
    disable_auto_complete_config
        A model without a complete configuration is refused.
    model_environment
        `MLSERVER_MODEL_*` by full name: what fills gaps of `model-settings.json`.
    parallel_workers
        Instances of a model with `model-settings.json` that says no number; 0 means 1.
    model_config_name
        `configs/<name>.pbtxt` in a model's directory goes before `config.pbtxt`; "" for none.
    model_load_thread_count
        How many model versions may load at once.
    model_load_retry_count
        Further attempts when a load fails.
    model_load_timeout_secs
        A load that takes longer is ended and counts as failed.
    model_drain_timeout_secs
        A worker that is not needed any more may go on so long with the requests it has; 0 for ever.
    exit_timeout_secs
        How long requests in flight may go on after SIGTERM.
    frontends
        Number of frontend processes.
    http_max_input_size
        Largest request body in bytes, also after decompression.
    reuse_http_port
        Another server may listen on the same port (`SO_REUSEPORT` towards foreign processes; the
        frontends of one server always share theirs).
    server_name, server_version, extensions
        As the server's metadata shows them.
    log, logging
        What the log writes, until clients change it; and how Python's `logging` takes it over.
    arena_initial_bytes, arena_max_bytes
        Shared memory for tensors of each process: taken at its start, and at most.
    allow_client_shm
        Clients may register their own shared memory.
    queue_slots
        Requests that may wait for one model version.
    max_waiting_per_instance
        Executions that may wait for each instance of a model without a limit of its own; 0 for any.
    worker_user
        Whom workers run as; `None`: as the server does.
    rate_limit, rate_limit_resources
        Whether executions take the resources of their instance groups first, and
        `<name>:<count>[:<device>]` each: how much of them there is.
    host_policies
        `<policy>,<setting>=<value>` each: on which CPUs the workers of a policy run.
    allocator
        Of workers whose model does not say another.
    environments_dir
        Where packed Python environments of models are unpacked; "" for a folder of the system's
        temporary directory.
    http
        Restrictions, forwarded headers and TLS of HTTP.
    clients
        How many may connect, and how slow they may be, over HTTP and gRPC.
    allow_grpc, grpc
        Whether gRPC is served, and how.
    allow_metrics, metrics_endpoint
        Whether metrics are served, and under which path of their port.
    metrics_interval_ms
        How long one look at the machine is told again.
    allow_cpu_metrics, metrics_counter_latencies
        Whether `nv_cpu_*` and the durations of `nv_inference_*` are told.
    metrics_summary_quantiles
        What Triton's summaries of latencies tell; none for no summaries.
    metrics_histogram_latencies
        Triton's histogram of first responses is told.
    metrics_http_prefix
        How the names of MLServer's metrics of HTTP begin.
    trace, span_export
        What is traced, until clients change it, and where spans go.
    """

    dialect: DialectName = DialectName.TRITON
    # repository and life cycle
    model_repositories: tuple[str, ...] = ()
    model_control_mode: ModelControlMode = ModelControlMode.NONE
    load_models: tuple[str, ...] = ()
    repository_poll_secs: int = 15
    exit_on_error: bool = True
    strict_readiness: bool = True
    disable_auto_complete_config: bool = False
    parallel_workers: int = 1
    model_config_name: str = ""
    model_environment: dict[str, str] = {}
    model_load_thread_count: int = 4
    model_load_retry_count: int = 0
    model_load_timeout_secs: int = 600
    model_drain_timeout_secs: int = 600
    exit_timeout_secs: int = 30
    # processes and shared memory
    frontends: int = 1
    arena_initial_bytes: int = MIB
    arena_max_bytes: int = 1024 * MIB
    allow_client_shm: bool = False
    queue_slots: int = 1024
    max_waiting_per_instance: int = 0
    worker_user: WorkerUser | None = None
    host_policies: tuple[str, ...] = ()
    rate_limit: RateLimitMode = RateLimitMode.OFF
    rate_limit_resources: tuple[str, ...] = ()
    allocator: Allocator = Allocator.MALLOC
    environments_dir: str = ""
    # HTTP
    allow_http: bool = True
    http_address: str = "0.0.0.0"  # noqa: S104  # the peers' default; a warning is printed
    http_port: int = 8000
    reuse_http_port: bool = False
    http_max_input_size: int = 64 * MIB
    http: HttpSettings = HttpSettings()
    clients: ClientLimits = ClientLimits()
    # gRPC and metrics
    allow_grpc: bool = True
    grpc: GrpcSettings = GrpcSettings()
    allow_metrics: bool = True
    metrics_address: str = "0.0.0.0"  # noqa: S104  # the peers' default
    metrics_port: int = 8002
    metrics_endpoint: str = "/metrics"
    metrics_interval_ms: int = 2000
    metrics_counter_latencies: bool = True
    metrics_summary_quantiles: tuple[float, ...] = ()
    metrics_histogram_latencies: bool = False
    metrics_http_prefix: str = "rest_server"
    allow_cpu_metrics: bool = True
    # metadata
    server_name: str = "triton"
    server_version: str = ""
    extensions: tuple[str, ...] = ()
    # log
    log: LogSwitches = LogSwitches()
    logging: LoggingSetup = LoggingSetup()
    # traces
    trace: TraceSetting = TraceSetting()
    span_export: SpanExport = SpanExport()


def encode_settings(settings: Settings) -> bytes:
    """Return `settings` as JSON, for a child process."""
    return msgspec.json.encode(settings)


def decode_settings(text: bytes) -> Settings:
    """Return the settings that `encode_settings` encoded."""
    return msgspec.json.decode(text, type=Settings)
