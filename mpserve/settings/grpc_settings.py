"""What the operator wants of gRPC; the flags are `--grpc-*`, in the words of Triton."""

import enum

import msgspec

from mpserve.settings.http_settings import Restriction

MAX_MESSAGE_BYTES = (1 << 31) - 1
INFLATED_BYTES = 64 << 20  # as HTTP's; what a client sends shrunk is inflated while others wait


class GrpcCompression(enum.Enum):
    """How hard answers are compressed, for clients that take it."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class GrpcTransport(enum.Enum):
    """What carries gRPC."""

    AUTO = "auto"
    """The native one, where its library is installed."""
    NATIVE = "native"
    AIO = "aio"


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the gRPC listener.

    Attributes
    ----------
    restrictions
        At most one for each category; the metadata is `triton-grpc-protocol-<key>`.
    header_forward_pattern
        Regular expression; metadata whose names it finds become parameters of inferences. "" for
        none.
    reuse_port
        Another server may listen on the same port (`SO_REUSEPORT` towards foreign processes; the
        frontends of one server always share theirs).
    socket_mode
        Permissions of a Unix-domain socket, octal.
    max_message_bytes
        Largest message, in both directions. While it is the largest there is, compressed messages
        have `INFLATED_BYTES`.
    use_ssl, use_ssl_mutual
        TLS; with the latter, clients must show a certificate that `root_cert` has signed.
    server_cert, server_key, root_cert
        Paths of PEM files, "" for none.
    keepalive_time_ms, keepalive_timeout_ms, keepalive_permit_without_calls,
    http2_max_pings_without_data, http2_min_ping_interval_ms, http2_max_ping_strikes
        As gRPC's channel arguments of these names.
    max_connection_age_ms, max_connection_age_grace_ms
        0 for no limit.
    """

    transport: GrpcTransport = GrpcTransport.AUTO
    address: str = "0.0.0.0"  # noqa: S104  # the peers' default; a warning is printed
    port: int = 8001
    restrictions: tuple[Restriction, ...] = ()
    header_forward_pattern: str = ""
    reuse_port: bool = False
    socket_mode: str = "0600"
    max_message_bytes: int = MAX_MESSAGE_BYTES
    compression_level: GrpcCompression = GrpcCompression.NONE
    use_ssl: bool = False
    use_ssl_mutual: bool = False
    server_cert: str = ""
    server_key: str = ""
    root_cert: str = ""
    keepalive_time_ms: int = 7_200_000
    keepalive_timeout_ms: int = 20_000
    keepalive_permit_without_calls: bool = False
    http2_max_pings_without_data: int = 2
    http2_min_ping_interval_ms: int = 300_000
    http2_max_ping_strikes: int = 2
    max_connection_age_ms: int = 0
    max_connection_age_grace_ms: int = 0
