"""Rows of the flags of HTTP beyond its listener: restrictions, forwarded headers, TLS."""

from typing import Final

from mpserve.settings import formats
from mpserve.settings.flags import Flag, Group, Kind
from mpserve.settings.header_pattern import check_header_pattern

_PEM: Final = "mpserve: path of the PEM file with "

HTTP_ACTING: Final = (
    Flag(
        name="http-restricted-api",
        kind=Kind.STRING,
        group=Group.HTTP,
        repeatable=True,
        check=formats.check_restricted_http,
        split=formats.split_restrictions,
        help=(
            "<api>,<api>:<key>=<value>: calls of these groups need the header <key> with this "
            f"value. Groups: {', '.join(formats.RESTRICTABLE)}."
        ),
    ),
    Flag(
        name="http-header-forward-pattern",
        kind=Kind.STRING,
        group=Group.HTTP,
        field="http.header_forward_pattern",
        check=check_header_pattern,
        help=(
            "Regular expression, in any case: request headers whose names it finds become "
            "parameters of inferences."
        ),
    ),
    Flag(
        name="http-socket-mode",
        kind=Kind.CHOICE,
        group=Group.HTTP,
        field="http.socket_mode",
        default="0600",
        choices=("0600", "0660"),
        complaint="invalid argument for --http-socket-mode, use 0600 or 0660",
        help="mpserve: permissions of the Unix-domain socket that --http-address names.",
    ),
    Flag(
        name="http-use-ssl",
        kind=Kind.BOOL,
        group=Group.HTTP,
        field="http.use_ssl",
        default=False,
        help="mpserve: encrypt with TLS; needs --http-server-cert and --http-server-key.",
    ),
    Flag(
        name="http-use-ssl-mutual",
        kind=Kind.BOOL,
        group=Group.HTTP,
        field="http.use_ssl_mutual",
        default=False,
        help=(
            "mpserve: clients must show a certificate signed by --http-root-cert; switches TLS on."
        ),
    ),
    Flag(
        name="http-server-cert",
        kind=Kind.STRING,
        group=Group.HTTP,
        field="http.server_cert",
        help=f"{_PEM}the server's certificate, and those between it and its root.",
    ),
    Flag(
        name="http-server-key",
        kind=Kind.STRING,
        group=Group.HTTP,
        field="http.server_key",
        help=f"{_PEM}the key of the server's certificate.",
    ),
    Flag(
        name="http-root-cert",
        kind=Kind.STRING,
        group=Group.HTTP,
        field="http.root_cert",
        help=f"{_PEM}the certificates that may sign those of clients.",
    ),
)
