"""Rows of the flags of gRPC: those that act, and those that mpserve understands only."""

from typing import Final

from mpserve.settings import formats
from mpserve.settings.flags import Flag, Group, Kind, Standing
from mpserve.settings.grpc_settings import MAX_MESSAGE_BYTES
from mpserve.settings.header_pattern import check_header_pattern
from mpserve.settings.values import INT32_MAX

MAX_PORT: Final = 65535
_OWN_PROCESSES: Final = "requests are carried by processes and shared memory, see --frontends"
_PEM: Final = "Path of the PEM file with "

GRPC_ACTING: Final = (
    Flag(
        name="allow-grpc",
        kind=Kind.BOOL,
        group=Group.GRPC,
        field="allow_grpc",
        default=True,
        help="Serve gRPC; needs nghttp2 or the package's extra 'grpc'.",
    ),
    Flag(
        name="grpc-transport",
        kind=Kind.CHOICE,
        group=Group.GRPC,
        field="grpc_transport",
        default="auto",
        choices=("auto", "native", "aio"),
        complaint="--grpc-transport is auto, native or aio",
        help=(
            "mpserve: what carries gRPC: 'native' (needs libnghttp2) costs several times less "
            "than 'aio' (needs grpcio); 'auto' is native where it can be."
        ),
    ),
    Flag(
        name="grpc-address",
        kind=Kind.STRING,
        group=Group.GRPC,
        field="grpc_address",
        default="0.0.0.0",  # noqa: S104  # the peers' default; a warning is printed
        help="Address to listen on; mpserve: unix:/path for a Unix-domain socket.",
    ),
    Flag(
        name="grpc-socket-mode",
        kind=Kind.CHOICE,
        group=Group.GRPC,
        field="grpc_socket_mode",
        default="0600",
        choices=("0600", "0660"),
        complaint="invalid argument for --grpc-socket-mode, use 0600 or 0660",
        help="mpserve: permissions of the Unix-domain socket that --grpc-address names.",
    ),
    Flag(
        name="grpc-port",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_port",
        default=8001,
        start_default=8081,
        least=1,
        most=MAX_PORT,
        help="Port to listen on.",
    ),
    Flag(
        name="reuse-grpc-port",
        kind=Kind.BOOL,
        group=Group.GRPC,
        field="grpc_reuse_port",
        default=False,
        help="Another server may listen on the same port (SO_REUSEPORT).",
    ),
    Flag(
        name="grpc-max-message-bytes",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_max_message_bytes",
        default=MAX_MESSAGE_BYTES,
        start_default=4 * 1024 * 1024,
        least=1024,
        help="mpserve: largest message, both ways; by default compressed ones may have 64 MiB.",
    ),
    Flag(
        name="grpc-infer-response-compression-level",
        kind=Kind.CHOICE,
        group=Group.GRPC,
        field="grpc_compression_level",
        default="none",
        choices=("none", "low", "medium", "high"),
        complaint="invalid argument for --grpc_infer_response_compression_level",
        help="How hard answers are compressed, for clients that take it.",
    ),
    Flag(
        name="grpc-use-ssl",
        kind=Kind.BOOL,
        group=Group.GRPC,
        field="grpc_use_ssl",
        default=False,
        help="Encrypt with TLS; needs --grpc-server-cert and --grpc-server-key.",
    ),
    Flag(
        name="grpc-use-ssl-mutual",
        kind=Kind.BOOL,
        group=Group.GRPC,
        field="grpc_use_ssl_mutual",
        default=False,
        help=(
            "Clients must show a certificate signed by --grpc-root-cert. Given with any value, "
            "also false, it switches TLS on, as in Triton."
        ),
    ),
    Flag(
        name="grpc-server-cert",
        kind=Kind.STRING,
        group=Group.GRPC,
        field="grpc_server_cert",
        help=f"{_PEM}the server's certificate.",
    ),
    Flag(
        name="grpc-server-key",
        kind=Kind.STRING,
        group=Group.GRPC,
        field="grpc_server_key",
        help=f"{_PEM}the key of the server's certificate.",
    ),
    Flag(
        name="grpc-root-cert",
        kind=Kind.STRING,
        group=Group.GRPC,
        field="grpc_root_cert",
        help=f"{_PEM}the certificates that may sign those of clients.",
    ),
    Flag(
        name="grpc-keepalive-time",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_keepalive_time_ms",
        default=7_200_000,
        help="Milliseconds without traffic after which a connection is pinged.",
    ),
    Flag(
        name="grpc-keepalive-timeout",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_keepalive_timeout_ms",
        default=20_000,
        help="Milliseconds that an answer to the ping may take.",
    ),
    Flag(
        name="grpc-keepalive-permit-without-calls",
        kind=Kind.BOOL,
        group=Group.GRPC,
        field="grpc_keepalive_permit_without_calls",
        default=False,
        help="Ping also while no call is open.",
    ),
    Flag(
        name="grpc-http2-max-pings-without-data",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_http2_max_pings_without_data",
        default=2,
        help="How many pings may be sent without data in between; 0 for any number.",
    ),
    Flag(
        name="grpc-http2-min-recv-ping-interval-without-data",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_http2_min_ping_interval_ms",
        default=300_000,
        help="Milliseconds that must lie between two pings of a client without data in between.",
    ),
    Flag(
        name="grpc-http2-max-ping-strikes",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_http2_max_ping_strikes",
        default=2,
        help="Bad pings of a client before its connection is closed; 0 for any number.",
    ),
    Flag(
        name="grpc-max-connection-age",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_max_connection_age_ms",
        default=0,
        help="Milliseconds after which a connection is told to close; 0 for no limit.",
    ),
    Flag(
        name="grpc-max-connection-age-grace",
        kind=Kind.INT,
        group=Group.GRPC,
        field="grpc_max_connection_age_grace_ms",
        default=0,
        help="Milliseconds that calls of such a connection may still take; 0 for no limit.",
    ),
    Flag(
        name="grpc-restricted-protocol",
        kind=Kind.STRING,
        group=Group.GRPC,
        repeatable=True,
        check=formats.check_restricted_grpc,
        split=formats.split_restrictions,
        help=(
            "Calls that need a secret in their metadata, as "
            "<protocol>[,<protocol>...]:<key>=<value>; it is sent as triton-grpc-protocol-<key>."
        ),
    ),
    Flag(
        name="grpc-header-forward-pattern",
        kind=Kind.STRING,
        group=Group.GRPC,
        field="grpc_header_forward_pattern",
        check=check_header_pattern,
        help="Metadata whose names this regular expression finds become parameters of inferences.",
    ),
)

GRPC_INERT: Final = (
    Flag(
        name="grpc-infer-thread-count",
        kind=Kind.INT,
        group=Group.GRPC,
        default=2,
        least=2,
        most=128,
        bound_complaint=(
            "invalid argument for --grpc_infer_thread_count. Must be in the range 2 to 128."
        ),
        standing=Standing.NO_EFFECT,
        reason=_OWN_PROCESSES,
        help=f"Changes nothing: {_OWN_PROCESSES}.",
    ),
    Flag(
        name="grpc-infer-allocation-pool-size",
        kind=Kind.INT,
        group=Group.GRPC,
        default=8,
        standing=Standing.NO_EFFECT,
        reason=_OWN_PROCESSES,
        help=f"Changes nothing: {_OWN_PROCESSES}.",
    ),
    Flag(
        name="grpc-max-response-pool-size",
        kind=Kind.INT,
        group=Group.GRPC,
        default=INT32_MAX,
        least=1,
        bound_complaint="Error: --grpc-max-response-pool-size must be greater than 0.",
        standing=Standing.NO_EFFECT,
        reason=_OWN_PROCESSES,
        help=f"Changes nothing: {_OWN_PROCESSES}.",
    ),
)
