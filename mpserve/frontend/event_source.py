"""Who answers, as MLServer's answers say: the server, and its place in Kubernetes."""

from pathlib import Path
from typing import Final

from mpserve.codec.cloud_events import Events, events_of
from mpserve.dialect import Dialect

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def events_from(server_name: str, *, dialect: Dialect) -> Events:
    """Return the attributes of a server's events; none in a dialect whose answers are no events."""
    if not dialect.answers_are_events:
        return Events()
    return events_of(server_name, namespace=_namespace())


def _namespace() -> str:
    """Return the namespace of Kubernetes that this runs in, "" outside of it."""
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
