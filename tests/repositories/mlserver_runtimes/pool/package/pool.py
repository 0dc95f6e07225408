"""Work in threads of the model's own, which the load waits for; a loop's task beside it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import mlserver
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse

from .work import work


class PoolRuntime(MLModel):
    def __init__(self, settings):
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="work")
        self._beats = 0
        super().__init__(settings)

    async def load(self):
        loop = asyncio.get_event_loop()
        self._factor = await loop.run_in_executor(self._pool, partial(work, 1))
        mlserver.register("pool_rows", "Rows that were worked on")
        self._beat = asyncio.ensure_future(self._count())
        await asyncio.sleep(0)

    async def _count(self):
        while True:
            self._beats += 1
            await asyncio.sleep(0.01)

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode_request(payload, default_codec=NumpyRequestCodec)
        mlserver.log(pool_rows=len(rows))
        loop = asyncio.get_running_loop()
        parts = await asyncio.gather(
            *(loop.run_in_executor(self._pool, self._one, row) for row in rows)
        )
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            parameters={"threads": str(threading.current_thread() is threading.main_thread())},
            outputs=[NumpyCodec.encode_output("doubled", np.array(parts))],
        )

    def _one(self, row: np.ndarray) -> np.ndarray:
        assert threading.current_thread().name.startswith("work")
        return row * self._factor

    async def unload(self) -> bool:
        self._beat.cancel()
        self._pool.shutdown()
        return True
