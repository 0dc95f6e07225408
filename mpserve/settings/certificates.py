"""The certificates of a listener, read from PEM files.

No part of the package's surface: who encrypts nothing need not import `ssl`.
"""

import ssl
from pathlib import Path
from typing import NoReturn

from mpserve.errors import ConfigError
from mpserve.settings.grpc_settings import GrpcSettings
from mpserve.settings.http_settings import HttpSettings


def server_context(settings: HttpSettings | GrpcSettings, *, flags: str) -> ssl.SSLContext:
    """Return how connections to an encrypted listener are encrypted.

    Parameters
    ----------
    flags
        First word of the flags that the settings come from.

    Raises
    ------
    ConfigError
        A file can not be read, the key is not the certificate's, or it wants a pass phrase: nobody
        is there who could be asked for one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _check_readable(settings.server_cert)
    _check_readable(settings.server_key)

    def refuse() -> NoReturn:
        raise ConfigError(
            f"the key '{settings.server_key}' of --{flags}-server-key is encrypted; give one "
            "without a pass phrase, readable for the server alone"
        )

    try:
        context.load_cert_chain(settings.server_cert, settings.server_key, password=refuse)
        if settings.use_ssl_mutual:
            _check_readable(settings.root_cert)
            context.load_verify_locations(settings.root_cert)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise ConfigError(
            f"'{settings.server_cert}', '{settings.server_key}' or '{settings.root_cert}' of "
            f"--{flags}-server-cert, --{flags}-server-key and --{flags}-root-cert can not be used: "
            f"{error.reason or error}"
        ) from error
    return context


def _check_readable(path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"'{path}' can not be read: {error.strerror}") from error
