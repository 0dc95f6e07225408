"""Checks of an ensemble's own configuration. Pure.

Whether its members exist and fit together is decided over all models, not here.
Source: Triton's validation messages, word by word.
"""

from msgspec import UNSET

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import TritonConfig
from mpserve.model.triton.normalization import ENSEMBLE
from mpserve.model.triton.scheduling_config import EnsembleScheduling, EnsembleStep


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
    """Check that each tensor is written once, can be written at all, and that none is left over."""
    inputs = [tensor.name for tensor in config.input]
    outputs = [tensor.name for tensor in config.output]
    writers = _writers(config, ensemble)
    read = {tensor for step in ensemble.step for tensor in step.input_map.values()}
    for tensor in inputs:
        if tensor not in read:
            raise InvalidRequest(
                f"ensemble input '{tensor}' for ensemble {config.name} is not used"
            )
    for tensor in outputs:
        if tensor not in writers and tensor not in inputs:
            raise InvalidRequest(
                f"ensemble output '{tensor}' for ensemble {config.name} is not used"
            )
    connected = _connected(set(inputs), ensemble)
    for tensor in (*outputs, *sorted(read)):
        if tensor not in connected:
            raise InvalidRequest(
                f"output '{tensor}' for ensemble '{config.name}' is not written"
                + _missing_link(writers.get(tensor), connected)
            )
    for tensor in sorted(writers.keys() - read - set(outputs)):
        raise InvalidRequest(f"ensemble tensor '{tensor}' is unused in ensemble '{config.name}'")


def _writers(config: TritonConfig, ensemble: EnsembleScheduling) -> dict[str, EnsembleStep]:
    writers: dict[str, EnsembleStep] = {}
    given = {tensor.name for tensor in config.input}
    for index, step in enumerate(ensemble.step):
        for tensor in step.output_map.values():
            if tensor in writers or tensor in given:
                raise InvalidRequest(
                    f"ensemble tensor '{tensor}' can appear in an output map only once for "
                    f"ensemble '{config.name}' step {index}"
                )
            writers[tensor] = step
    return writers


def _connected(given: set[str], ensemble: EnsembleScheduling) -> set[str]:
    """Return the tensors that come to be when the inputs are given; steps in a circle never run."""
    connected = set(given)
    waiting = list(ensemble.step)
    while able := [step for step in waiting if connected.issuperset(step.input_map.values())]:
        for step in able:
            connected.update(step.output_map.values())
            waiting.remove(step)
    return connected


def _missing_link(writer: EnsembleStep | None, connected: set[str]) -> str:
    if writer is None:
        return ""
    missing = next(tensor for tensor in writer.input_map.values() if tensor not in connected)
    return f": at least one of its depending tensors, '{missing}', is not connected"
