"""numpy in a frontend: imported beside what it serves, soon after the first model is there.

Most requests never need it: the native core reads and writes their tensors. What the core leaves to
Python does (`codec.datatype`), and a request that comes before the import has ended waits for it.

Guarantees
    No routing table waits for the import, and no request but one that needs it.
"""

import sys
import threading
from collections.abc import Callable
from typing import Final

CALM_SECONDS: Final = 0.25
"""How long no table must have come: while models load, all cores have something better to do."""


class LateImport:
    """Imports numpy once.

    Parameters
    ----------
    call_later
        The loop's.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._call_later = call_later
        self._is_wanted = "numpy" in sys.modules  # of a frontend that the spawner forked later
        self._is_disturbed = False

    def want(self) -> None:
        """Import it when nobody has called this for a while."""
        self._is_disturbed = True
        if not self._is_wanted:
            self._is_wanted = True
            self._look_later()

    def _look_later(self) -> None:
        self._is_disturbed = False
        self._call_later(CALM_SECONDS, self._look)

    def _look(self) -> None:
        if self._is_disturbed:
            self._look_later()
        else:
            threading.Thread(target=_import, name="late import").start()


def _import() -> None:
    import numpy  # noqa: F401, PLC0415  # see above
