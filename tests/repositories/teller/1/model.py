"""Tells which process, which version and which content of `value.txt` answered.

A request takes as long as it asks for; loading takes the parameter `load_seconds`.
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
        time.sleep(float(parameters.get("load_seconds", {}).get("string_value", "0")))
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

    @staticmethod
    def work(seconds):
        if seconds > 0:
            sys.stderr.write(f"teller works for {seconds:g} s\n")
            time.sleep(seconds)
