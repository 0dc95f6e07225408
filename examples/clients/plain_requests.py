"""Ask the model `simple` with nothing but JSON: `pip install requests`.

python examples/clients/plain_requests.py http://localhost:8000
"""

import sys

import requests

SECONDS = 10


def main(url: str) -> None:
    """Ask for the inference and for the model's statistics, and print both."""
    body = {
        "id": "42",
        "inputs": [
            {"name": name, "shape": [1, 16], "datatype": "INT32", "data": values}
            for name, values in (("INPUT0", list(range(16))), ("INPUT1", [1] * 16))
        ],
    }
    answer = requests.post(f"{url}/v2/models/simple/infer", json=body, timeout=SECONDS)
    answer.raise_for_status()
    for output in answer.json()["outputs"]:
        print(output["name"], output["data"])
    flat = {"INPUT0": list(range(16)), "INPUT1": [1] * 16}
    answer = requests.post(f"{url}/v2/models/simple/generate", json=flat, timeout=SECONDS)
    answer.raise_for_status()
    print("generate", answer.json()["OUTPUT0"])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000")
