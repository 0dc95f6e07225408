"""What the spawner imports once, so that none of its children pays for it.

Guarantees
    A request waits for one module at most that it does not need itself. Between two roles requests
    may come first: the frontends of an empty repository neither wait for numpy nor carry it. What
    only some children need comes last, and soon: loads one behind the other leave it room.
"""

import importlib
from collections import deque
from collections.abc import Iterable
from typing import Final

from mpserve.control.spawner_messages import Spawn
from mpserve.supervisor.entrypoints import EntryPoints
from mpserve.supervisor.last_words import say_traceback

PATIENCE_MS: Final = 1000  # far beyond what a supervisor takes to ask for its first child
QUIET_MS: Final = 100  # the start of a child, which is not to share the processors with imports
LATER_QUIET_MS: Final = 20  # the same for a few modules without which no worker stands by


class Preloads:
    """The modules of all roles, and those that births have asked for.

    Attributes
    ----------
    of_births
        What a fork of now has, and one of earlier may lack.
    """

    def __init__(self, entry_points: EntryPoints) -> None:
        self._entry_points = entry_points
        roles = [(*row.preload, *row.preload_later) for row in entry_points.values()]
        self._left = deque(module for modules in roles for module in modules)
        self._role_ends = {modules[-1] for modules in roles if modules}
        self._later = {module for row in entry_points.values() for module in row.preload_later}
        self._patience_ms = 0  # until the next of them
        self.of_births: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """Return how many are left."""
        return len(self._left)

    @property
    def wait_ms(self) -> int:
        """How long nothing is to be asked for until the next import."""
        return self._patience_ms

    def import_next(self) -> None:
        """Import one of those that are left."""
        module = self._left.popleft()
        _import((module,))
        self._patience_ms = PATIENCE_MS if module in self._role_ends else 0

    def import_for(self, message: Spawn) -> None:
        """Import what a child needs before the first of its kind, which would pay for it alone."""
        for module in self._entry_points[message.role].preload:
            if module in self._left:
                self._left.remove(module)
                _import((module,))
        is_late = self._later.issuperset(self._left)
        self._patience_ms = LATER_QUIET_MS if is_late else QUIET_MS
        if not self.of_births.issuperset(message.birth.preload):
            _import(message.birth.preload)
            self.of_births |= set(message.birth.preload)


def _import(modules: Iterable[str]) -> None:
    """Import early. One that can not be imported is told about where it is needed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001  # any code may run at import
            say_traceback()
