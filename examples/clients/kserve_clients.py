"""Ask the model `simple` with KServe's clients, over HTTP and gRPC: `pip install kserve`.

python examples/clients/kserve_clients.py http://localhost:8000 localhost:8001
"""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request() -> InferRequest:
    """Return a request with two vectors."""
    numbers = np.arange(16, dtype=np.int32).reshape(1, 16)
    tensors = []
    for name, values in (("INPUT0", numbers), ("INPUT1", np.ones_like(numbers))):
        tensor = InferInput(name, list(values.shape), "INT32")
        tensor.set_data_from_numpy(values, binary_data=True)
        tensors.append(tensor)
    return InferRequest(model_name="simple", infer_inputs=tensors)


async def main(url: str, grpc_address: str) -> None:
    """Print the sum of the vectors, as told over each wire."""
    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=10))
    try:
        assert await rest.is_model_ready(url, "simple")
        answer = await rest.infer(url, request(), model_name="simple")
        print("HTTP", answer.outputs[0].as_numpy().ravel().tolist())
    finally:
        await rest.close()
    async with InferenceGRPCClient(grpc_address, timeout=10) as client:
        assert await client.is_model_ready("simple")
        answer = await client.infer(request())
        print("gRPC", answer.outputs[0].as_numpy().ravel().tolist())


if __name__ == "__main__":
    given = sys.argv[1:] or ["http://localhost:8000", "localhost:8001"]
    asyncio.run(main(*given))
