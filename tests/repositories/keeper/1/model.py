"""Adds up in a state that the server keeps: TOTAL is what it answered as NEXT the last time.

With iterative sequences it wants each request once more until it has seen it VALUE times, and
tells in STEPS what it saw each time: the flags, and who else was in the batch.
"""

import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils

PAUSE_SECONDS = 0.002  # others come meanwhile


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.is_iterative = config["sequence_batching"]["iterative_sequence"]
        self.steps = {}

    def execute(self, requests):
        if self.is_iterative:
            time.sleep(PAUSE_SECONDS)
            ids = [request.correlation_id() for request in requests]
            return [self.step(request, ids) for request in requests]
        return [self.add(request) for request in requests]

    def add(self, request):
        total, value = self.tensors(request)
        return self.answer(total + value, [])

    def step(self, request, ids):
        total, value = self.tensors(request)
        steps = self.steps.setdefault(request.correlation_id(), [])
        steps.append({"flags": request.flags(), "batch": ids})
        if len(steps) < value.item():
            request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
            return None
        self.steps.pop(request.correlation_id())
        return self.answer(total + value, steps)

    @staticmethod
    def tensors(request):
        return [
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in ("TOTAL", "VALUE")
        ]

    @staticmethod
    def answer(total, steps):
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("SUM", total),
                pb_utils.Tensor("NEXT", total),
                pb_utils.Tensor("STEPS", np.array([[json.dumps(steps)]], np.object_)),
            ]
        )
