"""Holds as many mebibytes as its parameter `mebibytes` says, every page of them written."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        mebibytes = int(parameters["mebibytes"]["string_value"])
        self.hoard = np.ones((mebibytes, 1 << 20), np.uint8)

    def execute(self, requests):
        mebibytes = np.array([self.hoard.nbytes >> 20], np.int64)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("MEBIBYTES", mebibytes)]) for _ in requests
        ]
