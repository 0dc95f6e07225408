"""How a load begins: read the model, and for an ensemble the models it uses; wish for all of them.

Guarantees
    What is wished for last was read last: reading and wishing is one step, whatever else is loaded
    at the same time.
Source
    Triton: a load of an ensemble reads the newest files of its steps and loads those that are not
    there or have changed.
"""

import asyncio

import msgspec

from mpserve.dialect import Dialect
from mpserve.errors import InternalError, LoadError, ModelNotFound, MpserveError
from mpserve.lifecycle.graph import used_models
from mpserve.model.definition import ModelDefinition
from mpserve.model.event import Origin
from mpserve.model.identity import ModelName
from mpserve.repository import Override, VersionsRefused
from mpserve.supervisor.repository_view import RepositoryView
from mpserve.supervisor.supervisor import Settlement, Supervisor, directories_in_use
from mpserve.telemetry import log


class BegunLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What is being loaded, and the future that tells how that ended."""

    definition: ModelDefinition
    settlement: Settlement


class Loads:
    """Begins loads, one after another."""

    def __init__(self, *, supervisor: Supervisor, view: RepositoryView, dialect: Dialect) -> None:
        self._supervisor = supervisor
        self._view = view
        self._dialect = dialect
        self._turn = asyncio.Lock()

    async def begin(
        self, name: ModelName, override: Override | None, *, origin: Origin
    ) -> BegunLoad:
        """Wish for a model as it is in the repository now.

        Raises
        ------
        MpserveError
            It can not be read; in the words of the dialect.
        """
        async with self._turn:
            definition = await self._definition(name, override, origin=origin)
            await self._pull(definition, seen={name}, origin=origin)
            settlement = self._supervisor.wish(name, definition, origin=origin)
        return BegunLoad(definition=definition, settlement=settlement)

    async def tidy_up(self) -> None:
        """Remove the files of load calls that nothing is loaded from.

        Not while a load begins: what it has just written is in no wish yet.
        """
        if not self._view.has_temporary:
            return
        async with self._turn:
            in_use = directories_in_use(self._supervisor.wanted, self._supervisor.actual)
            self._view.discard_all_but(in_use)

    async def _pull(
        self, definition: ModelDefinition, *, seen: set[ModelName], origin: Origin
    ) -> None:
        """Wish for the models of an ensemble, the innermost first.

        One that can not be read stays as it is; without it the ensemble says what it lacks.
        """
        for member in used_models(definition):
            if member in seen:
                continue
            seen.add(member)
            try:
                found = await self._view.model(member, None)
            except MpserveError as error:
                self._tell_refused(member, error)
                self._tell_unreadable(member, error, origin=origin)
                continue
            await self._pull(found, seen=seen, origin=origin)
            if not self._is_there(found):
                self._supervisor.wish(
                    member, found, origin=origin, is_pulled=not self._was_named(member)
                )

    def _is_there(self, found: ModelDefinition) -> bool:
        """Whether exactly this serves, or is on its way."""
        wish = self._supervisor.wanted.wishes.get(found.name)
        model = self._supervisor.actual.models.get(found.name)
        if wish is None or wish.definition != found:
            return False
        if model is None or wish.number > model.settled:
            return True
        return model.definition == found and all(
            model.serving(version.version) is not None for version in found.versions
        )

    def _was_named(self, name: ModelName) -> bool:
        """Whether a load that is still in force asked for the model itself."""
        wish = self._supervisor.wanted.wishes.get(name)
        return wish is not None and wish.definition is not None and not wish.is_pulled

    async def _definition(
        self, name: ModelName, override: Override | None, *, origin: Origin
    ) -> ModelDefinition:
        """Read the model; errors of the scan become what the dialect calls them."""
        try:
            return await self._view.model(name, override)
        except LoadError as error:
            self._tell_refused(name, error)
            self._supervisor.events.refused(name, origin=origin, why=error.message)
            raise LoadError(f"load failed for model '{name}': {error.message}\n") from error
        except MpserveError as error:
            self._tell_unreadable(name, error, origin=origin)
            raise self._unreadable(name, error) from error

    def _tell_refused(self, name: ModelName, error: MpserveError) -> None:
        if isinstance(error, VersionsRefused):
            self._supervisor.refused(name, error.refusal)

    def _tell_unreadable(self, name: ModelName, error: MpserveError, *, origin: Origin) -> None:
        log.error("model.unreadable", model=name, reason=error.message)
        if not isinstance(error, ModelNotFound):  # names that no model has would fill the events
            self._supervisor.events.refused(name, origin=origin, why=error.message)

    def _unreadable(self, name: ModelName, error: MpserveError) -> MpserveError:
        phrases = self._dialect.phrases
        if isinstance(error, ModelNotFound):
            return ModelNotFound(phrases.load_of_unknown_model.format(name=name))
        return InternalError(phrases.load_of_broken_model.format(name=name, reason=error.message))
