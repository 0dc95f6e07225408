"""TLS of a listener, from PEM files."""

import ssl
from pathlib import Path

from mpserve.errors import ConfigError
from mpserve.settings import GrpcSettings, HttpSettings


def tls_context(
    settings: HttpSettings | GrpcSettings, *, flags: str, protocol: str
) -> ssl.SSLContext | None:
    """Return how connections are encrypted; `None` when they are not.

    Parameters
    ----------
    flags
        First word of the flags that the settings come from.
    protocol
        What is spoken, in the words of ALPN.

    Raises
    ------
    ConfigError
        A file can not be read, or the key is not the certificate's.
    """
    if not settings.use_ssl:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    _check_readable(settings.server_cert)
    _check_readable(settings.server_key)
    try:
        context.load_cert_chain(settings.server_cert, settings.server_key)
        if settings.use_ssl_mutual:
            _check_readable(settings.root_cert)
            context.load_verify_locations(settings.root_cert)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise ConfigError(
            f"the certificates of --{flags}-server-cert, --{flags}-server-key or "
            f"--{flags}-root-cert can not be used: {error.reason or error}"
        ) from error
    return context


def _check_readable(path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"'{path}' can not be read: {error.strerror}") from error
