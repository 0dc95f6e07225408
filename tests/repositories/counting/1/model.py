"""Answers the numbers below its input, one after another."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            (limit,) = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            for number in range(int(limit)):
                output = pb_utils.Tensor("OUT", np.array([number], np.float32))
                sender.send(pb_utils.InferenceResponse([output]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
