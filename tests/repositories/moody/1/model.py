"""Gives back what it is given; is as ready as the file MOODY_FILE says."""

import asyncio
import os
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.is_first = args["model_instance_name"].endswith("_0")

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("Y", pb_utils.get_input_tensor_by_name(one, "X").as_numpy())]
            )
            for one in requests
        ]

    async def is_ready(self):
        mood = self.mood() if self.is_first else "good"
        if mood == "angry":
            raise RuntimeError("do not ask")
        if mood == "slow":
            await asyncio.sleep(3600)
        return {"good": True, "bad": False}.get(mood, mood)

    def mood(self):
        return Path(os.environ["MOODY_FILE"]).read_text()
