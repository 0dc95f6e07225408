"""Ask a model as clients of MLServer do, of a server that `mpserve start` has started.

pip install requests
python examples/clients/mlserver_style.py http://localhost:8080
"""

import json
import sys
from typing import Any

import requests

SECONDS = 10
BODY: dict[str, Any] = {
    "parameters": {"content_type": "np"},
    "inputs": [
        {
            "name": name,
            "shape": [1, 16],
            "datatype": "INT32",
            "data": values,
            "parameters": {"content_type": "np"},
        }
        for name, values in (("INPUT0", list(range(16))), ("INPUT1", [1] * 16))
    ],
}


def main(url: str) -> None:
    """List the repository, ask once, and ask again for a stream of events."""
    index = requests.post(f"{url}/v2/repository/index", json={"ready": True}, timeout=SECONDS)
    index.raise_for_status()
    print("ready:", *sorted(row["name"] for row in index.json()))
    answer = requests.post(f"{url}/v2/models/simple/infer", json=BODY, timeout=SECONDS)
    answer.raise_for_status()
    print("answer", answer.json()["outputs"][0]["data"])
    path = f"{url}/v2/models/simple/infer_stream"
    with requests.post(path, json=BODY, timeout=SECONDS, stream=True) as events:
        events.raise_for_status()
        for line in events.iter_lines():
            if line.startswith(b"data: "):
                print("event ", json.loads(line.removeprefix(b"data: "))["outputs"][1]["data"])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080")
