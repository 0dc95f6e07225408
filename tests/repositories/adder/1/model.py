"""Adds its inputs and the number in `amount.txt`, 1 when there is none.

By its parameters it takes a while (`seconds`), waits until a file is gone (`gate`) or until another
model has come to the same folder (`meeting`), or raises an error of Triton's kind (`error`). Its
loads fail as long as there is a file `refuses.txt`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        settings = {name: value["string_value"] for name, value in parameters.items()}
        self.seconds = float(settings.get("seconds", "0"))
        self.gate = settings.get("gate", "")
        self.meeting = settings.get("meeting", "")
        self.error = settings.get("error", "")
        self.name = args["model_name"]
        amount = Path(__file__).with_name("amount.txt")
        self.amount = float(amount.read_text()) if amount.exists() else 1.0
        if Path(__file__).with_name("refuses.txt").exists():
            raise ValueError("it refuses")

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        if self.seconds or self.gate:
            sys.stderr.write(f"{self.name} works\n")
            time.sleep(self.seconds)
        while self.gate and Path(self.gate).exists():
            time.sleep(0.005)
        if self.meeting:
            self.meet(Path(self.meeting))
        if self.error:
            error = pb_utils.TritonError(self.error, pb_utils.TritonError.UNAVAILABLE)
            return pb_utils.InferenceResponse(error=error)
        total = sum(tensor.as_numpy() for tensor in request.inputs()) + self.amount
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", total.astype(np.float32))])

    def meet(self, folder):
        (folder / self.name).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.005)
