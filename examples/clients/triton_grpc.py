"""Ask the model `simple` over gRPC with NVIDIA's client: `pip install 'tritonclient[grpc]'`.

python examples/clients/triton_grpc.py localhost:8001
"""

import sys

import numpy as np
import tritonclient.grpc as triton


def main(address: str) -> None:
    """Send two vectors, and print their sum and difference."""
    numbers = np.arange(16, dtype=np.int32).reshape(1, 16)
    inputs = []
    for name, values in (("INPUT0", numbers), ("INPUT1", np.ones_like(numbers))):
        tensor = triton.InferInput(name, list(values.shape), "INT32")
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    with triton.InferenceServerClient(address) as client:
        assert client.is_model_ready("simple")
        result = client.infer("simple", inputs)
    print("sum       ", result.as_numpy("OUTPUT0").ravel().tolist())
    print("difference", result.as_numpy("OUTPUT1").ravel().tolist())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "localhost:8001")
