"""What an instance may take and answer, from the completed configuration. Pure."""

from typing import Final

from mpserve.control.messages import WorkerStart
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.shm.instance_port import InstanceRule

# A Triton model parses the text whatever the client sent.
_ABSENT_PARAMETERS: Final = {ConfigFormat.TRITON: "{}", ConfigFormat.MLSERVER: ""}


def instance_rule(start: WorkerStart, config: ModelConfig) -> InstanceRule:
    """Return the rule of an instance of a model with the completed configuration `config`."""
    signature = config.signature
    rows = max(signature.max_batch_size, 1)
    return InstanceRule(
        instance_name=start.instance_name,
        model_name=start.instance.name,
        model_version=start.instance.version,
        output_names=tuple(output.name for output in signature.outputs),
        open_outputs=signature.open_outputs,
        absent_parameters=_ABSENT_PARAMETERS[start.format],
        max_requests=rows if config.batching is not None else 1,
        max_rows=rows,
    )
