"""What the operator wants of HTTP beyond its listener; the flags are `--http-*`."""

import enum
from collections.abc import Iterable

import msgspec

from mpserve.settings.cors import CorsSettings


class Category(enum.Enum):
    """Group of calls that can be restricted together. Spelled as in Triton's flags."""

    HEALTH = "health"
    METADATA = "metadata"
    INFERENCE = "inference"
    SHARED_MEMORY = "shared-memory"
    MODEL_CONFIG = "model-config"
    MODEL_REPOSITORY = "model-repository"
    STATISTICS = "statistics"
    TRACE = "trace"
    LOGGING = "logging"


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of `category` need the header `key` with this value."""

    category: Category
    key: str
    value: str


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of HTTP.

    Attributes
    ----------
    restrictions
        At most one for each category.
    header_forward_pattern
        Regular expression; request headers whose names it finds become parameters of inferences.
        "" for none.
    socket_mode
        Permissions of a Unix-domain socket, octal.
    use_ssl, use_ssl_mutual
        TLS; with the latter, clients must show a certificate that `root_cert` has signed.
    server_cert, server_key, root_cert
        Paths of PEM files, "" for none.
    cors
        What pages of other origins may do; `None`: nothing is said about it.
    root_path
        Path that a proxy in front shows the server under, with a slash before it; "" for none.
    compresses
        Answers are compressed for clients that ask for it.
    """

    restrictions: tuple[Restriction, ...] = ()
    header_forward_pattern: str = ""
    socket_mode: str = "0600"
    use_ssl: bool = False
    use_ssl_mutual: bool = False
    server_cert: str = ""
    server_key: str = ""
    root_cert: str = ""
    cors: CorsSettings | None = None
    root_path: str = ""
    compresses: bool = True


def read_restrictions(texts: Iterable[str]) -> tuple[Restriction, ...]:
    """Return what `<api>,<api>:<key>=<value>` means, of texts whose form was checked."""
    found = []
    for text in texts:
        names, _, setting = text.partition(":")
        key, _, value = setting.partition("=")
        found += [
            Restriction(category=Category(name), key=key, value=value) for name in names.split(",")
        ]
    return tuple(found)
