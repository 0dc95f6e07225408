"""Inputs that are almost right: seeds with a few small changes."""

from collections.abc import Sequence
from random import Random

MOST_BYTES = 4096
PIECE_BYTES = 48


def mutate(seeds: Sequence[bytes], words: Sequence[bytes], random: Random) -> bytes:
    """Return one of the seeds with one to four changes, of which most insert or swap `words`."""
    text = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(text) + 1)
        match random.randrange(8):
            case 0:
                text[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                del text[at : at + random.randrange(1, 9)]
            case 2:
                del text[at:]
            case 3:
                text[at:at] = text[at : at + random.randrange(PIECE_BYTES)]
            case 4:
                other = random.choice(seeds)
                text[at:] = other[random.randrange(len(other) + 1) :]
            case 5 | 6:
                text[at:at] = random.choice(words)
            case _:
                if at < len(text):
                    text[at] ^= 1 << random.randrange(8)
    return bytes(text[:MOST_BYTES])
