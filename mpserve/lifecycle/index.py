"""The repository index and the server's readiness, from what is and what the last scan saw."""

from collections.abc import Mapping

from mpserve.lifecycle.actual import Actual, ShownVersion, shown_versions
from mpserve.model.identity import ModelName
from mpserve.model.state import IndexRow, ModelState


def index_rows(
    actual: Actual, *, listed: Mapping[ModelName, str], ready_only: bool
) -> tuple[IndexRow, ...]:
    """Return the rows of the repository index, by name, then version.

    Parameters
    ----------
    listed
        Models that are in the repository now, each with what is wrong with it there, or "".
    ready_only
        Rows of other states are left out.
    """
    rows = [row for name in sorted(listed) for row in _model_rows(actual, name, listed[name])]
    return tuple(row for row in rows if not ready_only or row.state is ModelState.READY)


def _model_rows(actual: Actual, name: ModelName, fault: str) -> list[IndexRow]:
    model = actual.models.get(name)
    versions = shown_versions(model) if model is not None else ()
    if versions:
        return [_version_row(name, one, fault) for one in versions]
    state = ModelState.UNAVAILABLE if fault else None
    return [IndexRow(name=name, version=None, state=state, reason=fault)]


def _version_row(name: ModelName, shown: ShownVersion, fault: str) -> IndexRow:
    """A version that serves on though its folder is broken, or it complains, says so."""
    reason = shown.reason
    if shown.state is ModelState.READY:
        reason = fault or shown.complaint
    return IndexRow(name=name, version=shown.version or None, state=shown.state, reason=reason)


def is_ready(actual: Actual, *, strict: bool) -> bool:
    """Return whether the server counts as ready.

    Strictly: every version that was ever wanted is `READY` and says so itself where it can, or was
    unloaded because someone wanted so. Source: Triton's `--strict-readiness`.
    """
    return not (strict and actual.unready)
