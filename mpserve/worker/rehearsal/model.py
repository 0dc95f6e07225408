"""The model of `worker.standby`'s rehearsal: what is in nearly every `model.py`."""

import json
from typing import Any

import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """Reads its configuration."""

    def initialize(self, args: dict[str, str]) -> None:
        """Do as most models do."""
        config: Any = json.loads(args["model_config"])
        self.output = pb_utils.get_output_config_by_name(config, "OUTPUT")
        self.dtype = pb_utils.triton_string_to_numpy(self.output["data_type"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Is never asked."""
        raise AssertionError(requests)

    def finalize(self) -> None:
        """Hold nothing."""
