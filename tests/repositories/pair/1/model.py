"""Tells the number in `value.txt` and the one in the configuration, which belong together."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.numbers = {
            "VALUE": int(Path(__file__).with_name("value.txt").read_text()),
            "MARK": int(parameters["mark"]["string_value"]),
        }

    def execute(self, requests):
        outputs = [
            pb_utils.Tensor(name, np.array([number], np.int64))
            for name, number in self.numbers.items()
        ]
        return [pb_utils.InferenceResponse(outputs) for _ in requests]
