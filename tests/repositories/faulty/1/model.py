"""Goes wrong where and how `fault.json` beside it says; else answers with what it was sent."""

import ctypes
import json
import os
import sys
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

FAULT = json.loads(Path(__file__).with_name("fault.json").read_text())


def fail():
    raise ValueError("this model is broken on purpose")


FAULTS = {
    "raise": fail,
    "leave": lambda: sys.exit("this model leaves"),
    "end": lambda: os._exit(7),
    "crash": lambda: ctypes.string_at(0),
    "close": lambda: os.closerange(3, os.sysconf("SC_OPEN_MAX")),
    "hang": lambda: time.sleep(3600),
}


def reach(place):
    if FAULT["place"] == place:
        sys.stderr.write(f"reached {place}\n")
        FAULTS[FAULT["fault"]]()


reach("import")


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        reach("auto_complete_config")
        return config

    def initialize(self, _args):
        reach("initialize")

    def execute(self, requests):
        reach("execute")
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", request.inputs()[0].as_numpy())])
            for request in requests
        ]

    def finalize(self):
        reach("finalize")
