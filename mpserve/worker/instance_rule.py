"""What an instance may take and answer, from the completed configuration. Pure."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from mpserve.control.messages import WorkerStart
from mpserve.model.definition import ConfigFormat
from mpserve.runtimes.protocol import CompletedConfig
from mpserve.shm.instance_port import InstanceRule

# A Triton model parses the text whatever the client sent.
_ABSENT_PARAMETERS: Final = {ConfigFormat.TRITON: "{}", ConfigFormat.MLSERVER: ""}


class _NamedOutput(msgspec.Struct, frozen=True):
    name: str


class _CompletedByModel(msgspec.Struct, frozen=True):
    """What a model may have completed and a batch depends on."""

    max_batch_size: int = 0
    output: tuple[_NamedOutput, ...] = ()
    dynamic_batching: msgspec.Raw | UnsetType = UNSET


def instance_rule(start: WorkerStart, completed: CompletedConfig) -> InstanceRule:
    """Return the rule of an instance.

    The model's own completion arrives as JSON alone: the supervisor makes the whole configuration
    of it, later than this instance needs to know.
    """
    signature = completed.config.signature
    names = tuple(output.name for output in signature.outputs)
    rows = signature.max_batch_size
    batches = completed.config.batching is not None
    if completed.config_json != start.config_json:
        own = msgspec.json.decode(completed.config_json, type=_CompletedByModel)
        names = tuple(output.name for output in own.output)
        rows = own.max_batch_size
        batches = own.dynamic_batching is not UNSET
    rows = max(rows, 1)
    return InstanceRule(
        instance_name=start.instance_name,
        model_name=start.instance.name,
        model_version=start.instance.version,
        output_names=names,
        open_outputs=signature.open_outputs,
        absent_parameters=_ABSENT_PARAMETERS[start.format],
        max_requests=rows if batches else 1,
        max_rows=rows,
    )
