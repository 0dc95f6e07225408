"""Native routes of the versions that are ready, and the model queues that they lead to.

Owner: a frontend, or a worker that calls models. A queue's mapping is closed when no route leads to
it any more and its last request was answered.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from mpserve.control.messages import ModelEntry, VersionEntry
from mpserve.errors import ModelNotReady
from mpserve.model.definition import ConfigFormat
from mpserve.model.identity import Generation, ModelName
from mpserve.model.request import SequenceMark
from mpserve.model.sequence import SequencePolicy
from mpserve.model.signature import TensorSpec
from mpserve.model.state import ModelState
from mpserve.shm.dispatcher import Dispatcher, QueuePort, Route
from mpserve.shm.model_queue import ModelQueue
from mpserve.telemetry import log
from mpserve.telemetry.counters import ModelCounts

DEFAULT_VERSION: Final = ""

NativeSpec = tuple[str, int, list[int] | None, bool, bool]


class _OpenQueue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that routes lead, or led, to."""

    generation: Generation
    mapping: ModelQueue
    port: QueuePort


class VersionRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route and the row of the table that it was made from."""

    entry: VersionEntry
    route: Route
    has_siblings: bool


class Routes:
    """Keeps the dispatcher's table equal to what was published.

    Parameters
    ----------
    reads_sequences
        The core's readers know of sequences what Python's do (`Dialect.reads_sequences`).
    on_released
        Called when a generation that the table no longer names is held no more.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        reads_sequences: bool = False,
        on_released: Callable[[], None] = lambda: None,
    ) -> None:
        self._dispatcher = dispatcher
        self._reads_sequences = reads_sequences
        self._on_released = on_released
        self._holds: Counter[int] = Counter()  # by generation
        self._models: dict[str, dict[str, VersionRoute]] = {}
        self._earlier: dict[str, tuple[VersionRoute, ...]] = {}  # of few models; newest first
        self._queues: dict[str, _OpenQueue] = {}
        self._retired: list[_OpenQueue] = []
        self._closing: list[ModelQueue] = []

    def apply(self, *, removed: Iterable[ModelName], changed: Iterable[ModelEntry]) -> None:
        """Take a change of the supervisor's table; requests go by it from now on."""
        for name in removed:
            named = self._segments(name)
            self._models.pop(name, None)
            self._earlier.pop(name, None)
            self._dispatcher.remove(name)
            self._retire(named)
        for model in changed:
            named = self._segments(model.name)
            earlier = self._earlier_routes(model)
            self._models[model.name] = self._ready_routes(model)
            self._earlier.pop(model.name, None)
            if earlier:
                self._earlier[model.name] = earlier
            self._dispatcher.update(model.name, self._native_table(model))  # pyright: ignore[reportUnknownMemberType]  # the stub has a bare dict
            self._retire(named - self._segments(model.name))

    def route(self, name: str, version: str) -> Route:
        """Return the route of a version that the table says is ready.

        Raises
        ------
        ModelNotReady
            Its queue was gone when the table arrived: a newer table is on its way.
        """
        ready = self._models.get(name, {}).get(version)
        if ready is None:
            raise ModelNotReady(f"model '{name}' version '{version}' is being replaced; try again")
        return ready.route

    def route_to(self, name: str, entry: VersionEntry) -> Route:
        """Return the route to the generation of a row that `RoutingTable` or `follow` gave.

        Raises
        ------
        ModelNotReady
            As `route`.
        """
        ready = self._models.get(name, {}).get(entry.version)
        for one in (ready, *self._earlier.get(name, ())):
            if one is not None and one.entry.generation == entry.generation:
                return one.route
        return self.route(name, entry.version)

    def follow(self, own: Route, mark: SequenceMark, *, any_version: bool) -> VersionRoute | None:
        """Return who else holds the sequence that a request goes on with.

        `None` when nobody does: the request goes to `own`, as one that starts a sequence does.

        Parameters
        ----------
        own
            Where the table sends the request.
        any_version
            No version was asked for, so the sequence may have begun in any.
        """
        if mark.starts or not (mark.number or mark.text):
            return None
        name = own.model_name
        others = [
            one
            for one in (*self._models.get(name, {}).values(), *self._earlier.get(name, ()))
            if one.route is not own and (any_version or one.entry.version == own.model_version)
        ]
        if not others or own.has_sequence(mark.number, mark.text):
            return None
        others.sort(key=lambda one: -one.entry.generation)
        return next((one for one in others if _holds(one, mark)), None)

    def counts(self, name: str, version: str) -> ModelCounts:
        """Return what was counted for a version since its load; nothing for one that is gone."""
        ready = self._models.get(name, {}).get(version)
        queue = self._queues.get(ready.entry.queue_segment) if ready is not None else None
        return queue.mapping.counts() if queue is not None else ModelCounts()

    def hold(self, generations: Iterable[int]) -> None:
        """Note that a request of an ensemble will still send requests to these generations."""
        self._holds.update(generations)

    def release(self, generations: Iterable[int]) -> None:
        """Take one `hold` back."""
        self._holds.subtract(generations)
        gone = {one for one in generations if not self._holds[one]}
        for generation in gone:
            del self._holds[generation]
        if any(queue.generation in gone for queue in self._replaced()):
            self._on_released()

    def held(self) -> tuple[Generation, ...]:
        """Return the generations that are held though no new request goes to them any more."""
        return tuple(
            sorted(queue.generation for queue in self._replaced() if self._holds[queue.generation])
        )

    def queues(self) -> list[ModelQueue]:
        """Return the queues that routes lead to, and those where an answer is still awaited."""
        return [queue.mapping for queue in (*self._queues.values(), *self._retired)]

    def is_settled(self) -> bool:
        """Tell whether no request is on its way to a queue that takes no new ones any more."""
        return all(queue.port.pending == 0 for queue in self._replaced())

    def close_retired(self) -> None:
        """Unmap the queues that are neither named nor used any more.

        One that the remains of a request still look into, until they are collected, is tried again
        the next time.
        """
        self._closing += [queue.mapping for queue in self._retired if not self._is_used(queue)]
        # Ports look into the mappings, so they go first.
        self._retired = [queue for queue in self._retired if self._is_used(queue)]
        self._closing = [mapping for mapping in self._closing if not mapping.close_unless_used()]

    def retired_count(self) -> int:
        """Return how many queues wait for their last answer, or to be unmapped."""
        return len(self._retired) + len(self._closing)

    def _is_used(self, queue: _OpenQueue) -> bool:
        return bool(queue.port.in_flight or self._holds[queue.generation])

    def _replaced(self) -> list[_OpenQueue]:
        """Return the queues that the table does not name, or only for sequences in them."""
        earlier = {one.entry.queue_segment for row in self._earlier.values() for one in row}
        return [*self._retired, *(self._queues[segment] for segment in earlier)]

    def _ready_routes(self, model: ModelEntry) -> dict[str, VersionRoute]:
        known = self._models.get(model.name, {})
        routes: dict[str, VersionRoute] = {}
        for entry in model.versions:
            if entry.state is not ModelState.READY:
                continue
            made = self._version_route(model, entry, known.get(entry.version))
            if made is not None:
                routes[entry.version] = made
        return routes

    def _earlier_routes(self, model: ModelEntry) -> tuple[VersionRoute, ...]:
        known = {one.entry.generation: one for one in self._earlier.get(model.name, ())}
        made = (
            self._version_route(model, entry, known.get(entry.generation))
            for entry in model.earlier
        )
        return tuple(one for one in made if one is not None)

    def _version_route(
        self, model: ModelEntry, entry: VersionEntry, before: VersionRoute | None
    ) -> VersionRoute | None:
        has_siblings = len(model.versions) + len(model.earlier) > 1
        if before is not None and before.entry == entry and before.has_siblings == has_siblings:
            return before
        port = self._port(entry)
        if port is None:
            return None
        route = self._native_route(model, entry, port, has_siblings=has_siblings)
        return VersionRoute(entry=entry, route=route, has_siblings=has_siblings)

    def _native_route(
        self, model: ModelEntry, entry: VersionEntry, port: QueuePort, *, has_siblings: bool
    ) -> Route:
        signature = entry.config.signature
        return Route(
            port=port,
            model_name=model.name,
            model_version=entry.version,
            generation=entry.generation,
            inputs=_native_specs(signature.inputs),
            outputs=_native_specs(signature.outputs),
            max_batch_size=signature.max_batch_size,
            open_inputs=signature.open_inputs,
            open_outputs=signature.open_outputs,
            queue_policy=entry.config.queue_policies,
            native=self._is_for_the_core(entry),
            keep_tensor_parameters=model.format is ConfigFormat.MLSERVER,
            takes_headers=entry.config.takes_headers,
            answers_streams=entry.config.answers_streams,
            sequences=_native_terms(entry.config.sequences),
            has_siblings=has_siblings,
        )

    def _is_for_the_core(self, entry: VersionEntry) -> bool:
        """The core's readers know neither ensembles nor ragged inputs, and one answer each.

        Of sequences they do not know the ids that iterative ones are given.
        """
        config = entry.config
        if config.ensemble is not None or config.decoupled:
            return False
        sequences = config.sequences
        if sequences is not None and (sequences.is_iterative or not self._reads_sequences):
            return False
        return not any(spec.ragged for spec in config.signature.inputs)

    def _native_table(self, model: ModelEntry) -> dict[str, Route]:
        table = {version: ready.route for version, ready in self._models[model.name].items()}
        if table:
            table[DEFAULT_VERSION] = list(table.values())[-1]  # versions ascend
        return table

    def _port(self, entry: VersionEntry) -> QueuePort | None:
        segment = entry.queue_segment
        known = self._queues.get(segment)
        if known is not None:
            return known.port
        try:
            mapping = ModelQueue.attach(segment)
        except FileNotFoundError:  # superseded while the table was on its way
            log.warning("queue.vanished", segment=segment)
            return None
        port = self._dispatcher.make_port(mapping.native)
        self._queues[segment] = _OpenQueue(generation=entry.generation, mapping=mapping, port=port)
        return port

    def _segments(self, name: str) -> set[str]:
        """Return the queues that the routes of a model lead to; no other model's do."""
        rows = (*self._models.get(name, {}).values(), *self._earlier.get(name, ()))
        return {one.entry.queue_segment for one in rows}

    def _retire(self, segments: Iterable[str]) -> None:
        self._retired += [self._queues.pop(segment) for segment in segments]


def _holds(one: VersionRoute, mark: SequenceMark) -> bool:
    return one.route.has_sequence(mark.number, mark.text)


def _native_terms(policy: SequencePolicy | None) -> tuple[str, str, bool] | None:
    """Return the control that wants the correlation id, its datatype, and who starts sequences."""
    if policy is None:
        return None
    control = policy.correlation_id
    name, datatype = ("", "") if control is None else (control.name, control.datatype.name)
    return name, datatype, policy.is_iterative


def _native_specs(specs: tuple[TensorSpec, ...]) -> list[NativeSpec]:
    return [
        (
            spec.name,
            int(spec.datatype or 0),
            None if spec.shape is None else list(spec.shape),
            spec.optional,
            spec.ragged,
        )
        for spec in specs
    ]
