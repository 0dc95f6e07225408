"""When the last sequence of a generation that was replaced has ended: found by looking.

Guarantees: noticed within `LOOK_SECONDS`. Costs nothing while no generation lingers. Looking also
lets go of sequences that were idle for too long, so nobody else has to.
"""

from collections.abc import Callable
from typing import Final

from mpserve.model.identity import Generation, ModelName

LOOK_SECONDS: Final = 0.1


class SequenceWatch:
    """Looks at the queues of generations that linger.

    Parameters
    ----------
    live_sequences
        Counts the sequences of a generation; 0 for one that is gone.
    ended
        Takes a generation without sequences, once. It is watched no longer.
    """

    def __init__(
        self,
        *,
        live_sequences: Callable[[Generation], int],
        call_later: Callable[[float, Callable[[], None]], object],
        ended: Callable[[ModelName, Generation], None],
    ) -> None:
        self._live_sequences = live_sequences
        self._call_later = call_later
        self._ended = ended
        self._watched: dict[Generation, ModelName] = {}
        self._is_looking = False

    def add(self, name: ModelName, generation: Generation) -> int:
        """Watch a generation from now on; return how many sequences it has."""
        self._watched[generation] = name
        live = self._live_sequences(generation)
        self._look_later(LOOK_SECONDS if live else 0.0)
        return live

    def _look_later(self, seconds: float) -> None:
        if self._watched and not self._is_looking:
            self._is_looking = True
            self._call_later(seconds, self._look)

    def _look(self) -> None:
        self._is_looking = False
        for generation, name in tuple(self._watched.items()):
            if not self._live_sequences(generation):
                del self._watched[generation]
                self._ended(name, generation)
        self._look_later(LOOK_SECONDS)
