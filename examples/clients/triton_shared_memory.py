"""Ask the model `simple` through shared memory: `pip install 'tritonclient[http]'`.

The server must run on this machine, with `--allow-client-shm=true`.

python examples/clients/triton_shared_memory.py localhost:8000
"""

import os
import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.utils.shared_memory as shm

TENSOR_BYTES = 16 * 4


def main(address: str) -> None:
    """Put two vectors into shared memory; the server puts their sum and difference behind them."""
    numbers = np.arange(16, dtype=np.int32)
    name = f"simple-{os.getpid()}"
    memory = shm.create_shared_memory_region(name, f"/{name}", 4 * TENSOR_BYTES)
    try:
        shm.set_shared_memory_region(memory, [numbers, np.ones_like(numbers)])
        with triton.InferenceServerClient(address) as client:
            client.register_system_shared_memory(name, f"/{name}", 4 * TENSOR_BYTES)
            try:
                ask(client, name)
            finally:
                client.unregister_system_shared_memory(name)
        for word, place in (("sum       ", 2), ("difference", 3)):
            offset = place * TENSOR_BYTES
            values = shm.get_contents_as_numpy(memory, np.int32, [16], offset=offset)
            print(word, values.tolist())
    finally:
        shm.destroy_shared_memory_region(memory)


def ask(client: triton.InferenceServerClient, region: str) -> None:
    """Send the request, which says only where the tensors are."""
    inputs = [triton.InferInput(f"INPUT{index}", [1, 16], "INT32") for index in range(2)]
    outputs = [triton.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]
    for place, tensor in enumerate([*inputs, *outputs]):
        tensor.set_shared_memory(region, TENSOR_BYTES, offset=place * TENSOR_BYTES)
    client.infer("simple", inputs, outputs=outputs)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "localhost:8000")
