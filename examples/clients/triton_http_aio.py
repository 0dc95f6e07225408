"""Ask the model `simple` many times at once with NVIDIA's asyncio client.

pip install 'tritonclient[http]'
python examples/clients/triton_http_aio.py localhost:8000
"""

import asyncio
import sys

import numpy as np
import tritonclient.http.aio as triton

COUNT = 32


async def ask(client: triton.InferenceServerClient, number: int) -> int:
    """Return 16 times `number`, as the model sees it."""
    inputs = []
    for name, value in (("INPUT0", number), ("INPUT1", 0)):
        tensor = triton.InferInput(name, [1, 16], "INT32")
        tensor.set_data_from_numpy(np.full((1, 16), value, dtype=np.int32))
        inputs.append(tensor)
    result = await client.infer("simple", inputs)
    return int(result.as_numpy("OUTPUT0").sum())


async def main(address: str) -> None:
    """Have `COUNT` requests in flight, and print the sum of all their answers."""
    async with triton.InferenceServerClient(address) as client:
        answers = await asyncio.gather(*(ask(client, number) for number in range(COUNT)))
    print("total", sum(answers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "localhost:8000"))
