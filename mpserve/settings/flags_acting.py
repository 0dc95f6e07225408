"""Rows of the flags that change what the server does.

Names, kinds and defaults are Triton's unless the row's help says "mpserve:". Bounds and complaints
are in Triton's words where it has some.
"""

from typing import Final

from mpserve.settings.flags import Flag, Group, Kind
from mpserve.settings.flags_clients import CLIENTS_ACTING
from mpserve.settings.flags_grpc import GRPC_ACTING, MAX_PORT
from mpserve.settings.flags_http import HTTP_ACTING
from mpserve.settings.flags_metrics import METRICS_ACTING
from mpserve.settings.flags_tracing import TRACING
from mpserve.settings.formats import check_host_policy, check_local, check_rate_limit_resource
from mpserve.settings.settings import MIB

MAX_FRONTENDS: Final = 64  # each has a ring and an arena in shared memory
MAX_QUEUE_SLOTS: Final = 1 << 16

_REPOSITORY: Final = (
    Flag(
        name="model-repository",
        alias="model-store",
        kind=Kind.STRING,
        group=Group.REPOSITORY,
        field="model_repositories",
        repeatable=True,
        check=check_local,
        help="Folder of models; several are kept sorted, each once.",
    ),
    Flag(
        name="model-control-mode",
        kind=Kind.CHOICE,
        group=Group.REPOSITORY,
        field="model_control_mode",
        default="none",
        start_default="explicit",
        choices=("none", "poll", "explicit"),
        complaint="invalid argument for --model-control-mode",
        help=(
            "Who decides what is loaded: 'none' loads all at the start, 'poll' follows the "
            "folders, 'explicit' obeys load and unload calls."
        ),
    ),
    Flag(
        name="repository-poll-secs",
        kind=Kind.INT,
        group=Group.REPOSITORY,
        field="repository_poll_secs",
        default=15,
        help="Seconds between two scans in mode 'poll'; 0 or less: no scan after the start.",
    ),
    Flag(
        name="load-model",
        kind=Kind.STRING,
        group=Group.REPOSITORY,
        field="load_models",
        repeatable=True,
        help="Model to load at the start in mode 'explicit'; '*' alone loads all.",
    ),
    Flag(
        name="model-config-name",
        kind=Kind.STRING,
        group=Group.REPOSITORY,
        field="model_config_name",
        help="Prefer configs/<name>.pbtxt of a model to its config.pbtxt.",
    ),
    Flag(
        name="disable-auto-complete-config",
        kind=Kind.SWITCH,
        group=Group.REPOSITORY,
        field="disable_auto_complete_config",
        default=False,
        help="Refuse models whose configuration is not complete.",
    ),
    Flag(
        name="strict-model-config",
        kind=Kind.BOOL,
        group=Group.REPOSITORY,
        default=False,
        help="Deprecated: true is --disable-auto-complete-config.",
    ),
)

_LIFECYCLE: Final = (
    Flag(
        name="settings-file",
        kind=Kind.STRING,
        group=Group.LIFECYCLE,
        help=(
            'mpserve: JSON file with values of flags, as in {"client-idle-timeout-secs": 60}; '
            "flags and environment go before it. It is read again by `mpserve reload`."
        ),
    ),
    Flag(
        name="dialect",
        kind=Kind.CHOICE,
        group=Group.LIFECYCLE,
        field="dialect",
        default="triton",
        start_default="mlserver",
        choices=("triton", "mlserver"),
        complaint="invalid argument for --dialect, use 'triton' or 'mlserver'",
        help="mpserve: whose statuses and bodies answer where the two peers differ.",
    ),
    Flag(
        name="exit-on-error",
        kind=Kind.BOOL,
        group=Group.LIFECYCLE,
        field="exit_on_error",
        default=True,
        start_default=False,
        help="End with exit code 1 when a model fails to load at the start.",
    ),
    Flag(
        name="strict-readiness",
        kind=Kind.BOOL,
        group=Group.LIFECYCLE,
        field="strict_readiness",
        default=True,
        start_default=False,
        help="The server is ready only while all its models are.",
    ),
    Flag(
        name="exit-timeout-secs",
        kind=Kind.INT,
        group=Group.LIFECYCLE,
        field="exit_timeout_secs",
        default=30,
        help="How long requests in flight may go on after SIGTERM; less than 0 counts as 0.",
    ),
    Flag(
        name="model-load-thread-count",
        kind=Kind.INT,
        group=Group.LIFECYCLE,
        field="model_load_thread_count",
        default=4,
        help="How many model versions may load at once; less than 1 counts as 1.",
    ),
    Flag(
        name="model-load-retry-count",
        kind=Kind.INT,
        group=Group.LIFECYCLE,
        field="model_load_retry_count",
        default=0,
        least=0,
        help="Further attempts when a load fails.",
    ),
    Flag(
        name="model-load-timeout-secs",
        kind=Kind.INT,
        group=Group.LIFECYCLE,
        field="model_load_timeout_secs",
        default=600,
        least=1,
        help="mpserve: a load that takes longer is ended and counts as failed.",
    ),
    Flag(
        name="model-drain-timeout-secs",
        kind=Kind.INT,
        group=Group.LIFECYCLE,
        field="model_drain_timeout_secs",
        default=600,
        least=0,
        help="mpserve: requests that an unloaded or replaced model still answers after so long "
        "are given up, and before that, sequences that go on so long in a replaced one. "
        "0 waits for ever.",
    ),
)

_PROCESSES: Final = (
    Flag(
        name="frontends",
        kind=Kind.INT,
        group=Group.PROCESSES,
        field="frontends",
        default=1,
        least=1,
        most=MAX_FRONTENDS,
        help="mpserve: number of processes that own client connections.",
    ),
    Flag(
        name="arena-initial-bytes",
        kind=Kind.INT64,
        group=Group.PROCESSES,
        field="arena_initial_bytes",
        default=MIB,
        least=64 * 1024,
        help="mpserve: shared memory for tensors that each process takes at its start.",
    ),
    Flag(
        name="arena-max-bytes",
        kind=Kind.INT64,
        group=Group.PROCESSES,
        field="arena_max_bytes",
        default=1024 * MIB,
        least=64 * 1024,
        help="mpserve: how far that shared memory may grow, for each process.",
    ),
    Flag(
        name="worker-user",
        kind=Kind.STRING,
        group=Group.PROCESSES,
        help=(
            "mpserve: <user>[:<group>] that models run as; the server must be started by root, or "
            "with CAP_SETUID, CAP_SETGID and CAP_CHOWN."
        ),
    ),
    Flag(
        name="allow-client-shm",
        kind=Kind.BOOL,
        group=Group.PROCESSES,
        field="allow_client_shm",
        default=False,
        help="Clients on this machine may register shared memory for inputs and outputs.",
    ),
    Flag(
        name="queue-slots",
        kind=Kind.INT,
        group=Group.PROCESSES,
        field="queue_slots",
        default=1024,
        least=1,
        most=MAX_QUEUE_SLOTS,
        help=(
            "mpserve: requests of one model version that wait in shared memory, or run; more of "
            "them wait in the frontends. A max_queue_size in its configuration may ask for more."
        ),
    ),
    Flag(
        name="max-waiting-per-instance",
        kind=Kind.INT,
        group=Group.SCHEDULING,
        field="max_waiting_per_instance",
        default=0,
        least=0,
        most=MAX_QUEUE_SLOTS,
        help=(
            "mpserve: executions that may wait for each instance of a model that has no "
            "max_queue_size; more requests are refused at once. 0: no such limit, as in Triton."
        ),
    ),
    Flag(
        name="rate-limit",
        kind=Kind.CHOICE,
        group=Group.SCHEDULING,
        field="rate_limit",
        default="off",
        choices=("off", "execution_count"),
        complaint="invalid argument for --rate-limit",
        help=(
            "'execution_count': an execution takes the resources of its instance group first; who "
            "executed least, times its priority, goes first."
        ),
    ),
    Flag(
        name="rate-limit-resource",
        kind=Kind.STRING,
        group=Group.SCHEDULING,
        field="rate_limit_resources",
        repeatable=True,
        check=check_rate_limit_resource,
        help="<name>:<count>[:<device>]: how much of a resource there is, the CPU is device 0.",
    ),
    Flag(
        name="host-policy",
        kind=Kind.STRING,
        group=Group.BACKENDS,
        field="host_policies",
        repeatable=True,
        check=check_host_policy,
        help=(
            "<policy>,cpu-cores=<lowest>-<highest>: CPUs of the workers whose instance group names "
            "the policy, 'cpu' of all that name none. 'numa-node' has no effect."
        ),
    ),
    Flag(
        name="allocator",
        kind=Kind.CHOICE,
        group=Group.PROCESSES,
        field="allocator",
        default="malloc",
        choices=("malloc", "tcmalloc", "jemalloc"),
        complaint="invalid argument for --allocator, use 'malloc', 'tcmalloc' or 'jemalloc'",
        help="mpserve: memory allocator of the workers, unless a model says another.",
    ),
    Flag(
        name="environments-dir",
        kind=Kind.STRING,
        group=Group.PROCESSES,
        field="environments_dir",
        help="mpserve: where packed Python environments of models are unpacked.",
    ),
)

_HTTP: Final = (
    Flag(
        name="allow-http",
        kind=Kind.BOOL,
        group=Group.HTTP,
        field="allow_http",
        default=True,
        help="Serve HTTP.",
    ),
    Flag(
        name="http-address",
        kind=Kind.STRING,
        group=Group.HTTP,
        field="http_address",
        default="0.0.0.0",  # noqa: S104  # the peers' default; a warning is printed
        help="Address to listen on; mpserve: unix:/path for a Unix-domain socket.",
    ),
    Flag(
        name="http-port",
        kind=Kind.INT,
        group=Group.HTTP,
        field="http_port",
        default=8000,
        start_default=8080,
        least=1,
        most=MAX_PORT,
        help="Port to listen on.",
    ),
    Flag(
        name="reuse-http-port",
        kind=Kind.BOOL,
        group=Group.HTTP,
        field="reuse_http_port",
        default=False,
        help="Another server may listen on the same port (SO_REUSEPORT).",
    ),
    Flag(
        name="http-max-input-size",
        kind=Kind.INT64,
        group=Group.HTTP,
        field="http_max_input_size",
        default=64 * MIB,
        least=1,
        bound_complaint="Error: --http-max-input-size must be greater than 0.",
        help=(
            "Largest JSON of a request, and largest body of another kind, in bytes, also after "
            "decompression. With binary tensors a body may have --arena-max-bytes."
        ),
    ),
)

_METADATA: Final = (
    Flag(
        name="id",
        kind=Kind.STRING,
        group=Group.METADATA,
        field="server_name",
        default="triton",
        start_default="mlserver",
        help="Name of the server in its metadata.",
    ),
)

_LOG: Final = (
    Flag(
        name="log-verbose",
        kind=Kind.VERBOSITY,
        group=Group.LOG,
        field="log.verbose_level",
        default=0,
        help="1 or more (or true) writes what only a developer needs.",
    ),
    Flag(
        name="log-info",
        kind=Kind.BOOL,
        group=Group.LOG,
        field="log.info",
        default=True,
        help="Write changes of state.",
    ),
    Flag(
        name="log-warning",
        kind=Kind.BOOL,
        group=Group.LOG,
        field="log.warning",
        default=True,
        help="Write what is degraded but serves.",
    ),
    Flag(
        name="log-error",
        kind=Kind.BOOL,
        group=Group.LOG,
        field="log.error",
        default=True,
        help="Write what someone must act on.",
    ),
    Flag(
        name="log-format",
        kind=Kind.CHOICE,
        group=Group.LOG,
        field="log.log_format",
        default="default",
        choices=("default", "ISO8601", "json"),
        ignore_case=False,
        complaint="invalid argument for --log-format",
        help="'default' for a terminal, 'ISO8601' with UTC times, 'json' (mpserve) for machines.",
    ),
    Flag(
        name="log-file",
        kind=Kind.STRING,
        group=Group.LOG,
        field="log.log_file",
        help="File to append the log to, instead of standard error.",
    ),
)

ACTING: Final = (
    *_REPOSITORY,
    *_LIFECYCLE,
    *_PROCESSES,
    *_HTTP,
    *HTTP_ACTING,
    *GRPC_ACTING,
    *CLIENTS_ACTING,
    *METRICS_ACTING,
    *TRACING,
    *_METADATA,
    *_LOG,
)
