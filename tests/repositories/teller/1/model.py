"""Tells which process, which version and which content of `value.txt` answered.

A request takes as long as it asks for; loading takes the parameter `load_seconds`. With -1, each
takes until the file `<model>.gate` is gone.
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
        parameters = json.loads(args["model_config"]).get("parameters", {})
        self.gate = Path(os.environ.get("TELLER_GATES", "/nowhere"), args["model_name"] + ".gate")
        self.take(float(parameters.get("load_seconds", {}).get("string_value", "0")))
        value = Path(__file__).with_name("value.txt")
        self.card = {
            "PID": os.getpid(),
            "VERSION": int(args["model_version"]),
            "VALUE": int(value.read_text()) if value.exists() else 0,
        }

    def execute(self, requests):
        responses = []
        for request in requests:
            self.work(float(pb_utils.get_input_tensor_by_name(request, "SECONDS").as_numpy()[0]))
            outputs = [
                pb_utils.Tensor(name, np.array([number], np.int64))
                for name, number in self.card.items()
            ]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses

    def work(self, seconds):
        if seconds:
            sys.stderr.write(f"teller works for {seconds:g} s\n")
            self.take(seconds)

    def take(self, seconds):
        time.sleep(max(seconds, 0))
        while seconds < 0 and self.gate.exists():
            time.sleep(0.005)
