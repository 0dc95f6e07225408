"""Who answers, as MLServer's answers say: the server, and its place in Kubernetes."""

from pathlib import Path
from typing import Final

from mpserve.codec.cloud_events import EventSource

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def event_source(server_name: str) -> EventSource:
    """Return the source of a server's events."""
    return EventSource(server_name=server_name, namespace=_namespace())


def _namespace() -> str:
    """Return the namespace of Kubernetes that this runs in, "" outside of it."""
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
