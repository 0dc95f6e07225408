"""Statistics of the models that serve, read from the shared memory of their queues.

The supervisor is not asked: what is counted since a load lies in the segment of that load's queue,
which this frontend has mapped to push requests into it.
"""

from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutingTable
from mpserve.errors import InvalidRequest
from mpserve.telemetry.statistics import ModelStatistics, StatisticsAnswer, model_statistics


class StatisticsHandler:
    """Statistics for all wires of a frontend."""

    def __init__(self, *, table: RoutingTable, routes: Routes) -> None:
        self._table = table
        self._routes = routes

    def of_all(self) -> StatisticsAnswer:
        """Return the statistics of every version that is ready, by name, then version."""
        found = (
            self._of_version(name, version)
            for name in self._table.names()
            for version in self._table.ready_versions(name)
        )
        return StatisticsAnswer(model_stats=tuple(found))

    def of_model(self, name: str, version: str) -> StatisticsAnswer:
        """Return the statistics of one version, or of all that are ready for "".

        Raises
        ------
        InvalidRequest
            No such model or version is ready.
        """
        ready = self._table.ready_versions(name)
        if not ready:
            raise InvalidRequest(f"requested model '{name}' is not available")
        if version and version not in ready:
            raise InvalidRequest(f"requested model version is not available for model '{name}'")
        wanted = (version,) if version else ready
        return StatisticsAnswer(model_stats=tuple(self._of_version(name, one) for one in wanted))

    def _of_version(self, name: str, version: str) -> ModelStatistics:
        return model_statistics(name, version, self._routes.counts(name, version))
