"""Completion of a configuration by what the model says about itself. Pure.

Source: Triton's auto-completion: a model may set `max_batch_size`, inputs, outputs, a scheduling
choice where there is none, and the transaction policy; nothing else.
"""

from typing import Final, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from mpserve.errors import InvalidRequest
from mpserve.model.config import CompletedConfig
from mpserve.model.triton.config import (
    ModelInput,
    ModelOutput,
    TransactionPolicy,
    TritonConfig,
)
from mpserve.model.triton.config_json import decode_config, encode_config
from mpserve.model.triton.normalization import normalize
from mpserve.model.triton.summary import summarize
from mpserve.model.triton.validation import refuse_unserved, validate, validate_tensors

SCHEDULING_CHOICES: Final = ("dynamic_batching", "sequence_batching", "ensemble_scheduling")

Tensor = TypeVar("Tensor", ModelInput, ModelOutput)


def complete(config_json: str, *, returned_json: str) -> CompletedConfig:
    """Merge what a model returned into the configuration it was given.

    Parameters
    ----------
    config_json
        As the definition has it.
    returned_json
        What `auto_complete_config` made of it, as JSON; `config_json` itself for a model without
        such a function (the result is checked all the same).

    Raises
    ------
    InvalidRequest, Unsupported
        When the result is no valid configuration or one that is not served, or another scheduling
        choice was made.
    """
    given = decode_config(config_json)
    returned = decode_config(returned_json)
    merged = normalize(_merge(given, returned))
    _check(merged)
    return CompletedConfig(config=summarize(merged), config_json=encode_config(merged))


def with_transactions(config_json: str, *, decoupled: bool) -> str:
    """Return a configuration with this transaction policy, whatever it says itself."""
    policy = TransactionPolicy(decoupled=decoupled)
    return encode_config(replace(decode_config(config_json), model_transaction_policy=policy))


def check_set_tensors(config_json: str) -> None:
    """Check the inputs and outputs of a configuration whose model file fills in what they lack.

    Raises
    ------
    InvalidRequest
        What stands there is wrong, and stays.
    """
    config = decode_config(config_json)
    filled = replace(
        config,
        max_batch_size=max(config.max_batch_size, 1),
        input=tuple(_filled(tensor) for tensor in config.input),
        output=tuple(_filled(tensor) for tensor in config.output),
        batch_input=(),
        batch_output=(),
    )
    validate_tensors(filled)


def check_completed(config_json: str) -> None:
    """Check a configuration that nothing completes any more.

    Raises
    ------
    InvalidRequest, Unsupported
        As `complete`.
    """
    _check(decode_config(config_json))


def _filled(tensor: Tensor) -> Tensor:
    """Return the tensor with something valid where it says nothing."""
    if tensor.data_type == "TYPE_INVALID":
        tensor = replace(tensor, data_type="TYPE_FP32")
    return tensor if tensor.dims else replace(tensor, dims=(-1, -1, -1), reshape=UNSET)


def _check(config: TritonConfig) -> None:
    validate(config)
    validate_tensors(config)
    refuse_unserved(config)


def _merge(given: TritonConfig, returned: TritonConfig) -> TritonConfig:
    before, after = _scheduling_choice(given), _scheduling_choice(returned)
    if before and before != after:
        # the same word twice is Triton's
        raise InvalidRequest(
            f"Cannot update scheduling choice from {before} to {before} when auto-completing."
        )
    return replace(
        given,
        max_batch_size=returned.max_batch_size,
        input=returned.input,
        output=returned.output,
        dynamic_batching=given.dynamic_batching if before else returned.dynamic_batching,
        sequence_batching=given.sequence_batching if before else returned.sequence_batching,
        model_transaction_policy=returned.model_transaction_policy
        if given.model_transaction_policy is UNSET or returned.model_transaction_policy is not UNSET
        else given.model_transaction_policy,
    )


def _scheduling_choice(config: TritonConfig) -> str:
    return next((field for field in SCHEDULING_CHOICES if getattr(config, field) is not UNSET), "")
