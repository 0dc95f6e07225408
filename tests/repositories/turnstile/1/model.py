"""Lets requests through one after the other and tells each its turn.

A request that holds keeps the instance until the file that the parameter `gate` names is gone, or,
when HOLD is 2, until its client is.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.gate = Path(parameters["gate"]["string_value"])
        self.turns = 0

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        hold = pb_utils.get_input_tensor_by_name(request, "HOLD").as_numpy().item()
        if hold:
            sys.stderr.write(f"turnstile holds in {os.getpid()}\n")
        while hold and self.gate.exists() and not (hold == 2 and request.is_cancelled()):
            time.sleep(0.002)
        self.turns += 1
        sys.stderr.write("turnstile turns\n")
        if request.is_cancelled():
            sys.stderr.write("turnstile was told that the client is gone\n")
        values = {"TURN": self.turns, "CANCELLED": int(request.is_cancelled())}
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, np.array([value], np.int32)) for name, value in values.items()]
        )
