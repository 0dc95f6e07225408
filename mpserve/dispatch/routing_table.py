"""A frontend's copy of the routing table: which model versions there are, and which take requests.

Pure: it holds what the supervisor published and answers questions about it.
"""

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from mpserve.control.messages import ModelEntry, VersionEntry
from mpserve.dialect import Phrases
from mpserve.errors import ModelNotFound, ModelNotReady
from mpserve.model.identity import ModelName
from mpserve.model.state import ModelState


class RoutedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one model, as the table has it.

    Attributes
    ----------
    is_default
        No version was asked for.
    """

    model: ModelEntry
    version: VersionEntry
    is_default: bool = False


class RoutingTable:
    """Models by name.

    Parameters
    ----------
    phrases
        The dialect's words for what is not there.
    """

    def __init__(self, phrases: Phrases) -> None:
        self._phrases = phrases
        self._models: dict[str, ModelEntry] = {}
        self.changes = 0
        """How often the table has changed, for those who remember what they found in it."""

    def apply(self, *, removed: Iterable[ModelName], changed: Iterable[ModelEntry]) -> None:
        """Take a change of the supervisor's table."""
        self.changes += 1
        for name in removed:
            self._models.pop(name, None)
        for model in changed:
            self._models[model.name] = model

    def ready(self, name: str, version: str) -> RoutedModel:
        """Return the version that takes a request.

        Parameters
        ----------
        version
            "" for the default: the highest one that is ready.

        Raises
        ------
        ModelNotFound
            No such model or version, or none that is ready when none was asked for.
        ModelNotReady
            The version is known, but loading, unloading or failed.
        """
        model = self._models.get(name)
        if model is None or not model.versions:
            phrase = (
                self._phrases.version_of_unknown_model if version else self._phrases.unknown_model
            )
            raise ModelNotFound(phrase.format(name=name, version=version))
        if version:
            return self._version(model, version)
        for entry in reversed(model.versions):
            if entry.state is ModelState.READY:
                return RoutedModel(model=model, version=entry, is_default=True)
        raise ModelNotFound(self._phrases.no_ready_version.format(name=name))

    def generations(self) -> set[int]:
        """Return the generations that are named."""
        return {
            entry.generation
            for model in self._models.values()
            for entry in (*model.versions, *model.earlier)
        }

    def ready_models(self) -> Iterator[RoutedModel]:
        """Return what takes the requests that name no version, by the models' names."""
        for name in sorted(self._models):
            with contextlib.suppress(ModelNotFound):
                yield self.ready(name, "")

    def names(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted(self._models)

    def ready_versions(self, name: str) -> tuple[str, ...]:
        """Return all versions of a model that are ready, ascending."""
        model = self._models.get(name)
        entries = model.versions if model is not None else ()
        return tuple(entry.version for entry in entries if entry.state is ModelState.READY)

    def _version(self, model: ModelEntry, version: str) -> RoutedModel:
        for entry in model.versions:
            if entry.version != version:
                continue
            if entry.state is ModelState.READY:
                return RoutedModel(model=model, version=entry)
            raise ModelNotReady(
                self._phrases.version_not_ready.format(name=model.name, version=version)
            )
        raise ModelNotFound(self._phrases.unknown_version.format(name=model.name, version=version))
