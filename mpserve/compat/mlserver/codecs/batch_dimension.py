"""The batch dimension that tensors of the V2 protocol always have."""

from collections.abc import Sequence


def inject_batch_dimension(shape: Sequence[int]) -> list[int]:
    """Return a shape of at least two dimensions: `[n]` becomes `[n, 1]`, `[]` becomes `[1]`."""
    if len(shape) > 1:
        return [int(size) for size in shape]
    return [int(shape[0]), 1] if shape else [1]
