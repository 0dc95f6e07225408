"""TLS of a listener, from PEM files."""

import ssl

from mpserve.settings import GrpcSettings, HttpSettings
from mpserve.settings.certificates import server_context


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
        As `server_context`.
    """
    if not settings.use_ssl:
        return None
    context = server_context(settings, flags=flags)
    context.set_alpn_protocols([protocol])
    return context
