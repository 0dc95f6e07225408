"""Checks of an ensemble's own configuration. Pure.

Whether its members exist and fit together is decided over all models, not here.
Source: Triton's validation messages, word by word.
"""

from msgspec import UNSET

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import EnsembleScheduling, EnsembleStep, TritonConfig
from mpserve.model.triton.normalization import ENSEMBLE


def check_ensemble(config: TritonConfig) -> None:
    """Check an ensemble, and that nothing else looks like one.

    Raises
    ------
    InvalidRequest
        With the first message of Triton's that applies.
    """
    ensemble = config.ensemble_scheduling
    if config.platform != ENSEMBLE:
        if ensemble is not UNSET:
            raise InvalidRequest(
                f"ensemble scheduling cannot be set for model '{config.name}' whose platform is "
                "not ensemble"
            )
        return
    if ensemble is UNSET:
        raise InvalidRequest(
            f"ensemble scheduling must be set for ensemble {config.name} whose platform is ensemble"
        )
    _check_plain(config)
    if not ensemble.step:
        raise InvalidRequest(f"must specify 'step' for ensemble '{config.name}'")
    for index, step in enumerate(ensemble.step):
        _check_step(config, index, step)
    _check_use(config, ensemble)


def _check_plain(config: TritonConfig) -> None:
    refused = (
        (
            bool(config.instance_group),
            f"instance group should not be specified for ensemble '{config.name}'",
        ),
        (
            config.optimization is not UNSET,
            f"optimization should not be specified for ensemble '{config.name}'",
        ),
        (
            bool(config.model_warmup),
            f"model_warmup can not be specified for ensemble '{config.name}'",
        ),
    )
    for is_set, message in refused:
        if is_set:
            raise InvalidRequest(message)


def _check_step(config: TritonConfig, index: int, step: EnsembleStep) -> None:
    needed = (
        ("model_name", step.model_name),
        ("input_map", step.input_map),
        ("output_map", step.output_map),
    )
    for field, value in needed:
        if not value:
            raise InvalidRequest(
                f"must specify '{field}' in step {index} of ensemble '{config.name}'"
            )


def _check_use(config: TritonConfig, ensemble: EnsembleScheduling) -> None:
    """Check that each tensor is written once and none is left over."""
    written = {tensor.name for tensor in config.input}
    for index, step in enumerate(ensemble.step):
        for tensor in step.output_map.values():
            if tensor in written:
                raise InvalidRequest(
                    f"ensemble tensor '{tensor}' can appear in an output map only once for "
                    f"ensemble '{config.name}' step {index}"
                )
            written.add(tensor)
    read = {tensor for step in ensemble.step for tensor in step.input_map.values()}
    outputs = {tensor.name for tensor in config.output}
    for tensor in (tensor.name for tensor in config.input):
        if tensor not in read:
            raise InvalidRequest(
                f"ensemble input '{tensor}' for ensemble {config.name} is not used"
            )
    for tensor in sorted(outputs | read):
        if tensor not in written:
            raise InvalidRequest(f"output '{tensor}' for ensemble '{config.name}' is not written")
    for tensor in sorted(written - read - outputs):
        raise InvalidRequest(f"ensemble tensor '{tensor}' is unused in ensemble '{config.name}'")
