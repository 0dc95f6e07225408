"""Tells what it sees of sequences: each row's controls, which process answered, and a running sum.

The sum is kept by correlation id, in the process. A request takes as long as it asks for; with a
negative time, until a file with the name of its sequence is in the folder SEQUENCER_GATES.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

CONTROLS = ("START", "END", "READY", "CORRID")


class TritonPythonModel:
    def initialize(self, _args):
        self.sums = {}

    def execute(self, requests):
        rows = [self.seen(request) for request in requests]
        time.sleep(max(row["seconds"] for row in rows))
        for row in rows:
            self.wait_for_gate(row)
        return [self.answer(request, rows) for request in requests]

    def seen(self, request):
        row = {
            "id": request.correlation_id(),
            "flags": request.flags(),
            "told": [request.request_id(), request.parameters(), request.timeout()],
            "seconds": 0.0,
        }
        for name in CONTROLS:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                value = tensor.as_numpy().reshape(-1)[0]
                row[name] = value.decode() if isinstance(value, bytes) else value.item()
                row[name + "_SHAPE"] = list(tensor.shape())
        if row.get("READY", 1):
            seconds = pb_utils.get_input_tensor_by_name(request, "SECONDS").as_numpy()
            row["seconds"] = max(float(seconds.reshape(-1)[0]), 0.0)
            row["gate"] = float(seconds.reshape(-1)[0]) < 0
        return row

    @staticmethod
    def wait_for_gate(row):
        if not row.get("gate"):
            return
        sys.stderr.write(f"sequencer holds {row['id']}\n")
        gate = Path(os.environ["SEQUENCER_GATES"], str(row["id"]))
        while not gate.exists():
            time.sleep(0.005)

    def answer(self, request, rows):
        value = int(pb_utils.get_input_tensor_by_name(request, "VALUE").as_numpy().reshape(-1)[0])
        shape = pb_utils.get_input_tensor_by_name(request, "VALUE").as_numpy().shape
        key = request.correlation_id()
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
            self.sums[key] = 0
        self.sums[key] = self.sums.get(key, -1_000_000) + value
        outputs = {
            "SUM": np.full(shape, self.sums[key], np.int64),
            "PID": np.full(shape, os.getpid(), np.int64),
            "ROWS": np.full(shape, json.dumps(rows), np.object_),
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array) for name, array in outputs.items()]
        )
