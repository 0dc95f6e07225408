"""What an ensemble runs: its steps with the model versions that the routing table names now.

A request of an ensemble uses the same generations from its first step to its last, whatever is
loaded meanwhile; they are held until it is answered.
"""

from collections.abc import Iterator, Mapping

import msgspec

from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutedModel, RoutingTable
from mpserve.errors import MpserveError
from mpserve.model.config import ModelConfig
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.signature import Signature
from mpserve.shm.dispatcher import Route


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A model version that answers a request: by its queue, or as an ensemble by its members.

    Attributes
    ----------
    is_default
        No version was asked for.
    generations
        All that answering takes, to be held.
    steps
        Of an ensemble, in the order of its graph.
    beats
        Of an ensemble: tensor -> the decoupled step whose answers it comes with, once for each;
        tensors that come once are not here.
    """

    name: str
    version: str
    config: ModelConfig
    route: Route
    generations: frozenset[int]
    is_default: bool
    steps: tuple["MemberStep", ...] = ()
    beats: Mapping[str, int] = {}

    @property
    def is_ensemble(self) -> bool:
        """Whether it is answered by its members."""
        return self.config.ensemble is not None


class MemberStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an ensemble and what answers it; `beat` as of the tensors that it reads."""

    step: Step
    member: Member
    beat: int | None

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self.member.config.signature


class Members:
    """Finds the members of ensembles; remembers them as long as the routing table stays."""

    def __init__(self, *, table: RoutingTable, routes: Routes) -> None:
        self._table = table
        self._routes = routes
        self._known: dict[tuple[int, bool], Member] = {}
        self._changes = -1

    def find(self, routed: RoutedModel) -> Member:
        """Return a model version with everything that answers it.

        Raises
        ------
        ModelNotFound, ModelNotReady
            The table on its way will say so too.
        """
        if self._changes != self._table.changes:
            self._known.clear()
            self._changes = self._table.changes
        key = int(routed.version.generation), routed.is_default
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._make(routed)
        return known

    def _make(self, routed: RoutedModel) -> Member:
        name, version = routed.model.name, routed.version.version
        config = routed.version.config
        route = self._routes.route(name, version)
        own = frozenset({int(routed.version.generation)})
        if config.ensemble is None:
            return Member(
                name=name,
                version=version,
                config=config,
                route=route,
                generations=own,
                is_default=routed.is_default,
            )
        try:
            members = [
                self.find(self._table.ready(step.model, step.version))
                for step in config.ensemble.steps
            ]
        except MpserveError as error:
            raise type(error)(in_ensemble(name, error.message)) from error
        beats = dict(_beats(config.ensemble, members))
        return Member(
            name=name,
            version=version,
            config=config,
            route=route,
            generations=own.union(*(member.generations for member in members)),
            is_default=routed.is_default,
            beats=beats,
            steps=tuple(
                MemberStep(step=step, member=member, beat=_beat_of(step, beats))
                for step, member in zip(config.ensemble.steps, members, strict=True)
            ),
        )


def in_ensemble(name: str, message: str) -> str:
    """Return how an ensemble tells what one of its steps said."""
    return f"in ensemble '{name}', {message}"


def _beats(ensemble: Ensemble, members: list[Member]) -> Iterator[tuple[str, int]]:
    """Follow the answers of decoupled steps through the graph, which has no circle."""
    beats: dict[str, int] = {}
    written = {tensor for step in ensemble.steps for tensor in step.outputs.values()}
    waiting = dict(enumerate(ensemble.steps))
    while waiting:
        for index, step in tuple(waiting.items()):
            if written.isdisjoint(step.inputs.values()):
                del waiting[index]
                written.difference_update(step.outputs.values())
                beat = index if members[index].config.decoupled else _beat_of(step, beats)
                if beat is not None:
                    beats.update(dict.fromkeys(step.outputs.values(), beat))
    yield from beats.items()


def _beat_of(step: Step, beats: Mapping[str, int]) -> int | None:
    """Return the decoupled step whose answers a step hears; a load refuses one that hears two."""
    heard = [beats[tensor] for tensor in step.inputs.values() if tensor in beats]
    return heard[0] if heard else None
