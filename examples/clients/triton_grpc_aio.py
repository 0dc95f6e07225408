"""Ask the model `simple` many times at once over gRPC with NVIDIA's asyncio client.

pip install 'tritonclient[grpc]'
python examples/clients/triton_grpc_aio.py localhost:8001
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

COUNT = 32


def inputs(number: int) -> list[triton.InferInput]:
    """Return two tensors whose sum is `number`, sixteen times."""
    tensors = []
    for name, value in (("INPUT0", number), ("INPUT1", 0)):
        tensor = triton.InferInput(name, [1, 16], "INT32")
        tensor.set_data_from_numpy(np.full((1, 16), value, dtype=np.int32))
        tensors.append(tensor)
    return tensors


def total(result: triton.InferResult) -> int:
    """Return 16 times the number that was sent, as the model sees it."""
    return int(result.as_numpy("OUTPUT0").sum())


async def requests() -> AsyncIterator[dict[str, Any]]:
    """Yield what goes over one stream."""
    for number in range(COUNT):
        yield {"model_name": "simple", "inputs": inputs(number)}


async def main(address: str) -> None:
    """Print the sum of all answers to `COUNT` calls, and to as many requests of one stream."""
    async with triton.InferenceServerClient(address) as client:
        calls = (client.infer("simple", inputs(number)) for number in range(COUNT))
        print("calls ", sum(total(result) for result in await asyncio.gather(*calls)))
        streamed = 0
        async for result, error in client.stream_infer(requests()):
            if error is not None:
                raise error
            streamed += total(result)
        print("stream", streamed)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "localhost:8001"))
