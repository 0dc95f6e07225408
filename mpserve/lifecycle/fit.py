"""Whether the models of an ensemble fit together: names, datatypes, shapes, batches.

Pure. Source: Triton's checks of an ensemble when it loads, in their order and words.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mpserve.model.config import ModelConfig
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.request import shape_text
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype


def misfit(name: str, config: ModelConfig, members: Sequence[ModelConfig]) -> str | None:
    """Return why an ensemble can not work; `None` when it can.

    Parameters
    ----------
    members
        Configurations of the steps' models, in the order of the steps.
    """
    assert config.ensemble is not None, f"{name} is no ensemble"
    return next(_misfits(name, config, config.ensemble, members), None)


class _Use(msgspec.Struct, frozen=True, kw_only=True):
    """What one model says about a tensor; `None` stands for anything."""

    model: str
    datatype: Datatype | None
    shape: tuple[int, ...] | None
    batches: bool

    @property
    def dims(self) -> tuple[int, ...] | None:
        """Shape without the batch."""
        return self.shape[1:] if self.shape is not None and self.batches else self.shape


def _misfits(
    name: str, config: ModelConfig, ensemble: Ensemble, members: Sequence[ModelConfig]
) -> Iterator[str]:
    where = f"in ensemble {name}"
    limit = config.signature.max_batch_size
    uses: dict[str, _Use] = {}
    for spec in (*config.signature.inputs, *config.signature.outputs):
        uses.setdefault(spec.name, _use(name, spec, config))
    for step, member in zip(ensemble.steps, members, strict=True):
        if member.signature.max_batch_size < limit and not member.signature.open_inputs:
            yield (
                f"ensemble {name} allows maximum batch size {limit}, but it contains model "
                f"{step.model} which only allows maximum batch size to be "
                f"{member.signature.max_batch_size}"
            )
        for tensor, use in _step_uses(step, member):
            known = uses.setdefault(tensor, use)
            yield from _contradictions(f"{where}, ensemble tensor {tensor}: ", known, use)
        yield from (f"{where}, {text}" for text in _wrong_names(step, member))
    mixed = _mixing_step(ensemble, members)
    if mixed is not None:
        yield (
            f"{where}, step of model '{mixed}' receives inputs originated from different decoupled "
            "models"
        )


def _use(model: str, spec: TensorSpec, config: ModelConfig) -> _Use:
    return _Use(
        model=model,
        datatype=spec.datatype,
        shape=spec.shape,
        batches=config.signature.max_batch_size > 0,
    )


def _step_uses(step: Step, member: ModelConfig) -> Iterator[tuple[str, _Use]]:
    for specs, mapped in (
        (member.signature.inputs, step.inputs),
        (member.signature.outputs, step.outputs),
    ):
        for spec in specs:
            if spec.name in mapped:
                yield mapped[spec.name], _use(step.model, spec, member)


def _contradictions(where: str, known: _Use, use: _Use) -> Iterator[str]:
    if None not in {known.datatype, use.datatype} and known.datatype is not use.datatype:
        assert known.datatype is not None
        assert use.datatype is not None
        yield (
            f"{where}inconsistent data type: {known.datatype.config_name} is inferred from model "
            f"{known.model} while {use.datatype.config_name} is inferred from model {use.model}"
        )
    # A model that batches and one that does not may share a tensor: with or without the batch.
    if not _agree(known.dims, use.dims) and not _agree(known.shape, use.shape):
        yield (
            f"{where}inconsistent shape: {_text(known.shape)} is inferred from model {known.model} "
            f"while {_text(use.shape)} is inferred from model {use.model}"
        )


def _agree(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(
        -1 in {size, other_size} or size == other_size
        for size, other_size in zip(one, other, strict=True)
    )


def _text(shape: tuple[int, ...] | None) -> str:
    return shape_text(shape) if shape is not None else "[]"


def _wrong_names(step: Step, member: ModelConfig) -> Iterator[str]:
    signature = member.signature
    inputs = {spec.name for spec in signature.inputs}
    outputs = {spec.name for spec in signature.outputs}
    for own, tensor in step.inputs.items():
        if own not in inputs and not signature.open_inputs:
            yield (
                f"ensemble tensor {tensor} is mapping to non-existing input {own} in model "
                f"{step.model}"
            )
    for spec in signature.inputs:
        if spec.name not in step.inputs and not spec.optional and not signature.open_inputs:
            yield f"input {spec.name} in model {step.model} is not mapped to any ensemble tensors"
    for own, tensor in step.outputs.items():
        if own not in outputs and not signature.open_outputs:
            yield (
                f"ensemble tensor {tensor} is mapped from non-existing output {own} in model "
                f"{step.model}"
            )
    for tensor in _repeated(step.outputs.values()):
        yield f"multiple outputs in model {step.model} are mapped to the same ensemble tensor " + (
            tensor
        )


def _repeated(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


def _mixing_step(ensemble: Ensemble, members: Sequence[ModelConfig]) -> str | None:
    """Return the model that would get answers of two decoupled models, which have no common beat.

    Steps are looked at when what they read is known; the graph has no circle.
    """
    origins: dict[str, frozenset[int]] = {}
    waiting = dict(enumerate(ensemble.steps))
    written = {tensor for step in ensemble.steps for tensor in step.outputs.values()}
    while waiting:
        able = {
            index: step
            for index, step in waiting.items()
            if all(name in origins or name not in written for name in step.inputs.values())
        }
        assert able, "the steps of an ensemble wait for each other"
        for index, step in able.items():
            del waiting[index]
            sources = frozenset[int]().union(
                *(origins.get(name, frozenset()) for name in step.inputs.values())
            )
            if len(sources) > 1:
                return step.model
            own = frozenset({index}) if members[index].decoupled else sources
            origins.update(dict.fromkeys(step.outputs.values(), own))
    return None
