"""A supervisor without processes, for the tests of those who make wishes."""

import asyncio

from mpserve.lifecycle.events import LoadRefused
from mpserve.lifecycle.wanted import Wish
from tests.unit.lifecycle.simulation import Simulation


class Refusals:
    """What could not be read, as the event log is told."""

    def __init__(self):
        self.told = []

    def refused(self, name, *, origin, why):
        self.told.append((name, origin.value, why))


class World:
    """Carries out each wish at once; what is named in `broken` does not load."""

    def __init__(self):
        self.simulation = Simulation()
        self.events = Refusals()
        self.broken = set()
        self.wishes = []

    @property
    def wanted(self):
        return self.simulation.wanted

    @property
    def actual(self):
        return self.simulation.actual

    def wish(self, name, definition, *, origin, is_pulled=False):
        number = self.simulation.next_wish()
        self.wishes.append((name, "unload" if definition is None else "load", origin.value))
        self.simulation.make(
            Wish(
                number=number,
                name=name,
                definition=definition,
                origin=origin,
                is_pulled=is_pulled,
            )
        )
        self._come_true(name)
        settlement = asyncio.get_running_loop().create_future()
        settlement.set_result(self.simulation.answer(number)[0])
        return settlement

    def refused(self, name, refusal):
        self.simulation.tell(
            LoadRefused(name=name, versions=refusal.versions, failure=refusal.reason)
        )

    async def until(self, condition):
        assert condition(self.actual)

    def _come_true(self, name):
        while starting := self.simulation.instances("starting", name=name):
            if name in self.broken:
                self.simulation.refuse(starting[0])
            else:
                self.simulation.load(name=name)
        self.simulation.look_at_folder(name)
        self.simulation.acknowledge()
        self.simulation.end_stopping(name=name)
        self.simulation.acknowledge()
