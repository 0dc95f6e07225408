"""Inputs that the server gives a model, and no client sends. Pure."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from mpserve.model.triton.config import TritonConfig


class ServerInput(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; `data_type` is "" where the configuration does not tell it here."""

    name: str
    data_type: str = ""


def server_inputs(config: TritonConfig) -> Iterator[ServerInput]:
    """Yield what tells of the batch, then states and controls of sequences."""
    for one in config.batch_input:
        for name in one.target_name:
            yield ServerInput(name=name, data_type=one.data_type)
    if config.sequence_batching is UNSET:
        return
    for state in config.sequence_batching.state:
        yield ServerInput(name=state.input_name)
    for control in config.sequence_batching.control_input:
        yield ServerInput(name=control.name)
