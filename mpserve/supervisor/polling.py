"""Poll mode: changes of the repository become wishes, once they have been still for a while.

A load that failed is wished for again, too: at the next poll, and then after pauses that grow.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mpserve.lifecycle.retry import Failing, follow, is_due
from mpserve.lifecycle.wanted import Wanted
from mpserve.model.event import Origin
from mpserve.model.identity import ModelName
from mpserve.repository import Refusal, ScanOptions, ScanResult, Sighting, settle, wakes
from mpserve.supervisor.repository_view import RepositoryView
from mpserve.supervisor.supervisor import Supervisor
from mpserve.telemetry import log

SETTLE_NS: Final = 500_000_000  # an editor writes twice within 300 ms; a copy pauses for less
OF_NO_SCAN: Final = "taken over"
_SECOND_NS: Final = 1_000_000_000


def taken_over(wanted: Wanted, options: ScanOptions) -> ScanResult:
    """Return what was taken before this supervisor: what is wished for.

    Its tokens are of no scan, so each model is looked at twice before its folder counts.
    """
    definitions = {
        wish.name: wish.definition for wish in wanted.wishes.values() if wish.definition is not None
    }
    return ScanResult(
        options=options,
        definitions=definitions,
        broken={},
        duplicates={},
        names=tuple(sorted(definitions)),
        unreadable_roots={},
        tokens=dict.fromkeys(definitions, OF_NO_SCAN),
        notes=(),
        folders={},
    )


class Polling:
    """Follows the repository until it is stopped.

    Parameters
    ----------
    first
        What the server started with.
    interval_s
        Longest time between two scans, in seconds.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        view: RepositoryView,
        first: ScanResult,
        interval_s: float,
        now_ns: Callable[[], int],
    ) -> None:
        self._supervisor = supervisor
        self._view = view
        self._taken = first
        self._interval_s = interval_s
        self._now_ns = now_ns
        self._sightings: dict[ModelName, Sighting] = {}
        self._told: dict[ModelName, str] = {}
        self._failing: dict[ModelName, Failing] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Scan whenever something changed, and at each interval, until `stop` is set."""
        async for _ in wakes(self._view.roots, interval_s=self._interval_s, stop=stop):
            await self._scan_until_still(stop)

    async def _scan_until_still(self, stop: asyncio.Event) -> None:
        """Scan; while something is seen to move, look again after the settle time."""
        await self._scan()
        while self._sightings and not stop.is_set():
            try:
                async with asyncio.timeout(SETTLE_NS / _SECOND_NS):
                    await stop.wait()
            except TimeoutError:
                await self._scan()

    async def _scan(self) -> None:
        begun_ns = self._now_ns()
        try:
            current = await self._view.scan()
        except Exception as error:  # noqa: BLE001  # a defect of the scan must not end the server
            log.error("scan.broke", reason=repr(error))
            return
        settled = settle(
            taken=self._taken,
            current=current,
            sightings=self._sightings,
            now_ns=begun_ns,
            settle_ns=SETTLE_NS,
        )
        self._sightings = settled.sightings
        self._take(settled.result)

    def _take(self, result: ScanResult) -> None:
        """Wish for what differs from what is wished already."""
        self._taken = result
        wishes = self._supervisor.wanted.wishes
        again = self._due_again()
        for name, definition in result.definitions.items():
            wish = wishes.get(name)
            if wish is None or wish.definition != definition or name in again:
                self._supervisor.wish(name, definition, origin=Origin.POLL)
        for name, wish in wishes.items():
            # A folder that can not be read keeps its last good version serving.
            is_gone = name not in result.definitions and name not in result.broken
            if wish.definition is not None and is_gone:
                self._supervisor.wish(name, None, origin=Origin.POLL)
        refused = self._supervisor.actual.models.keys() - wishes.keys()  # never wished for
        for name in refused - set(result.names):
            self._supervisor.wish(name, None, origin=Origin.POLL)
        self._tell_broken(result)

    def _due_again(self) -> frozenset[ModelName]:
        """Return the models whose load failed for long enough to try once more."""
        now_ns = self._now_ns()
        self._failing = follow(
            self._failing,
            self._supervisor.wanted.wishes,
            self._supervisor.actual.models,
            now_ns=now_ns,
        )
        return frozenset(
            name
            for name, failing in self._failing.items()
            if is_due(failing, now_ns=now_ns, interval_ns=round(self._interval_s * _SECOND_NS))
        )

    def _tell_broken(self, result: ScanResult) -> None:
        for name, failure in result.broken.items():
            if self._told.get(name) != failure.message:
                log.error("model.unreadable", model=name, reason=failure.message)
                self._supervisor.events.refused(name, origin=Origin.POLL, why=failure.message)
                if isinstance(failure, Refusal):
                    self._supervisor.refused(name, failure)
        self._told = {name: failure.message for name, failure in result.broken.items()}
