"""Several arguments by name, two results; one argument may be missing."""

from typing import List, Optional, Tuple

import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args


class Arguments(MLModel):
    async def load(self) -> bool:
        return True

    @decode_args
    async def predict(
        self, numbers: np.ndarray, names: List[str], marks: Optional[List[str]] = None
    ) -> Tuple[np.ndarray, List[str]]:
        more = sum(len(one) for one in marks or [])
        return numbers.mean(axis=-1) + more, [name.title() for name in names]
