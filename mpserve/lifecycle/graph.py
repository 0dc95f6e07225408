"""Ensembles and the models they use: who uses whom, who waits for whom, which can not serve.

Pure. An ensemble has no workers: it serves as long as its models do and fit together. It is judged
when it loads, and again whenever one of its models has changed. One that can not serve for want of
its models waits for them, as long as it is wanted.
Source: Triton's dependency graph and its messages. Unlike there, an ensemble whose models are
reloaded and still fit goes on without a reload of its own.
"""

from collections.abc import Callable, Iterator

import msgspec

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.actions import (
    Action,
    AdaptEnsemble,
    AdmitGeneration,
    AssembleGeneration,
    BeginOperation,
    WithdrawEnsemble,
)
from mpserve.lifecycle.actual import Actual, GenerationRecord, ModelRecord, version_order
from mpserve.lifecycle.fit import misfit
from mpserve.lifecycle.misfit import Misfit
from mpserve.lifecycle.reasons import UNLOADED
from mpserve.lifecycle.transitions import Phase
from mpserve.lifecycle.wanted import Wanted
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ModelDefinition
from mpserve.model.ensemble import Step
from mpserve.model.event import Origin
from mpserve.model.identity import ModelName


def assemblies(wanted: Wanted, actual: Actual) -> Iterator[Action]:
    """Let ensembles load whose models have loaded, or never will."""
    for name in sorted(actual.unsteady):
        for record in actual.models[name].generations:
            ensemble = record.config.ensemble
            if ensemble is None or record.failure is not None:
                continue
            if record.phase is Phase.LOADING:
                fault = judge(name, record.config, wanted=wanted, actual=actual)
                yield AssembleGeneration(
                    name=name,
                    generation=record.generation,
                    misfit=fault,
                    decoupled=is_decoupled(name, record.config, actual),
                )
            elif record.phase is Phase.QUEUED and not _waits(record, wanted, actual):
                yield AdmitGeneration(name=name, generation=record.generation)


def reviews(wanted: Wanted, actual: Actual) -> Iterator[Action]:
    """Judge again the ensembles of which a model has changed since the last routing table."""
    if not actual.changed:
        return
    for name, model in actual.models.items():
        for record in model.generations:
            cause = _cause(record.config, actual) if record.phase is Phase.SERVING else None
            if cause is None:
                continue
            fault = judge(name, record.config, wanted=wanted, actual=actual)
            if fault is not None:
                yield WithdrawEnsemble(
                    name=name,
                    generation=record.generation,
                    misfit=fault,
                    origin=_origin(cause, wanted, actual),
                )
            elif (
                decoupled := is_decoupled(name, record.config, actual)
            ) != record.config.decoupled:
                yield AdaptEnsemble(name=name, generation=record.generation, decoupled=decoupled)
        if model.misfit is not None and model.operation is None:
            yield from _return(model, wanted, actual)


def judge(name: ModelName, config: ModelConfig, *, wanted: Wanted, actual: Actual) -> Misfit | None:
    """Return why an ensemble can not serve with what there is now; `None` when it can."""
    assert config.ensemble is not None, f"{name} is no ensemble"
    absent = sorted(one for one in config.ensemble.models if _is_absent(one, wanted, actual))
    if absent:
        return _misfit(
            f"ensemble {name} contains models that are not available or ambiguous: "
            + ", ".join(absent),
            is_absence=True,
        )
    circle = _circle(name, config, lambda member: _served_definition(member, wanted, actual))
    if circle:
        return _misfit("circular dependency between ensembles: " + " -> ".join(circle))
    members: list[ModelConfig] = []
    for step in config.ensemble.steps:
        found = _member(name, step, actual)
        if isinstance(found, Misfit):
            return found
        members.append(found)
    text = misfit(name, config, members)
    return _misfit(text) if text is not None else None


def is_decoupled(name: ModelName, config: ModelConfig, actual: Actual) -> bool:
    """Return whether a model of an ensemble that can serve is decoupled, whatever it says itself.

    Source: Triton sets the transaction policy of an ensemble by its graph.
    """
    steps = config.ensemble.steps if config.ensemble is not None else ()
    members = (_member(name, step, actual) for step in steps)
    return any(isinstance(member, ModelConfig) and member.decoupled for member in members)


def used_models(definition: ModelDefinition) -> tuple[ModelName, ...]:
    """Return the models that an ensemble uses itself; none for any other model."""
    ensemble = definition.config.ensemble
    return ensemble.models if ensemble is not None else ()


def unneeded_with(name: ModelName, wanted: Wanted) -> tuple[ModelName, ...]:
    """Return the models that nobody wants any more when the ensemble `name` is unloaded.

    They are those that it uses, that no load named, and that no other model uses; and, for each of
    these, its own. Source: Triton's `unload_dependents`.
    """
    gone: dict[ModelName, None] = {name: None}
    looked_at = [name]
    while looked_at:
        definition = wanted_definition(looked_at.pop(), wanted)
        for member in used_models(definition) if definition is not None else ():
            wish = wanted.wishes.get(member)
            if wish is None or not wish.is_pulled or member in gone:
                continue
            if not any(member in used_models(other) for other in _others(wanted, gone)):
                gone[member] = None
                looked_at.append(member)
    return tuple(gone)[1:]


def wanted_definition(name: ModelName, wanted: Wanted) -> ModelDefinition | None:
    """Return what should be served as `name`; `None` for nothing."""
    wish = wanted.wishes.get(name)
    return wish.definition if wish is not None else None


# --- waiting -------------------------------------------------------------------------------------


def _waits(record: GenerationRecord, wanted: Wanted, actual: Actual) -> bool:
    """Whether a model of an ensemble is still on its way. In a circle nobody waits."""
    assert record.config.ensemble is not None
    if _circle(record.name, record.config, lambda member: wanted_definition(member, wanted)):
        return False
    return any(_is_on_its_way(member, wanted, actual) for member in record.config.ensemble.models)


def _is_on_its_way(name: ModelName, wanted: Wanted, actual: Actual) -> bool:
    wish, model = wanted.wishes.get(name), actual.models.get(name)
    if wish is None or (model is not None and wish.number <= model.settled):
        return model is not None and _is_undecided(model)
    operation = model.operation if model is not None else None
    return operation is None or operation.wish < wish.number or operation.published_in is None


def _is_undecided(model: ModelRecord) -> bool:
    return model.operation is not None and model.operation.published_in is None


def _circle(
    name: ModelName,
    config: ModelConfig,
    definition_of: Callable[[ModelName], ModelDefinition | None],
) -> tuple[ModelName, ...]:
    """Return a way through ensembles that leads from `name` back to it; empty when none does."""
    assert config.ensemble is not None
    ways: list[tuple[ModelName, ...]] = [(name, member) for member in config.ensemble.models]
    seen: set[ModelName] = set()
    while ways:
        way = ways.pop()
        if way[-1] == name:
            return way
        definition = definition_of(way[-1]) if way[-1] not in seen else None
        seen.add(way[-1])
        members = used_models(definition) if definition is not None else ()
        ways += [(*way, member) for member in members]
    return ()


def _served_definition(name: ModelName, wanted: Wanted, actual: Actual) -> ModelDefinition | None:
    """Return what serves as `name`, or else what should."""
    model = actual.models.get(name)
    if model is not None and any(one.phase is Phase.SERVING for one in model.generations):
        return model.definition
    return wanted_definition(name, wanted)


# --- judging -------------------------------------------------------------------------------------


def _is_absent(name: ModelName, wanted: Wanted, actual: Actual) -> bool:
    """Whether nobody wants the model. One whose load was refused has no wish, but a reason."""
    if wanted_definition(name, wanted) is not None:
        return False
    model = actual.models.get(name)
    return model is None or all(reason == UNLOADED for reason in model.reasons.values())


def _member(name: ModelName, step: Step, actual: Actual) -> ModelConfig | Misfit:
    """Return the configuration of the version that a step uses, or why there is none."""
    start = f"ensemble '{name}' depends on '{step.model}'"
    model = actual.models.get(step.model)
    serving = [one for one in model.generations if one.phase is Phase.SERVING] if model else []
    if serving and not step.version:
        return max(serving, key=lambda one: version_order(one.version.version)).config
    for one in serving:
        if one.version.version == step.version:
            return one.config
    if serving:
        return _misfit(f"{start} whose required version {step.version} is not loaded.")
    if model is not None and model.misfit is not None:
        return _misfit(
            f"{start} which is not valid. Model '{step.model}' failed with error: "
            f"{model.misfit.failure.message}"
        )
    reasons = model.reasons if model is not None else {}
    told = "".join(
        f"version {version} is at UNAVAILABLE state: {reasons[version]};"
        for version in sorted(reasons, key=version_order)
    )
    ending = f" Model '{step.model}' loading failed with error: {told}" if told else ""
    return _misfit(f"{start} which has no loaded version.{ending}")


def _misfit(message: str, *, is_absence: bool = False) -> Misfit:
    return Misfit(
        failure=Failure(code=ErrorCode.INVALID_ARGUMENT, message=message), is_absence=is_absence
    )


# --- reviews -------------------------------------------------------------------------------------


def _return(model: ModelRecord, wanted: Wanted, actual: Actual) -> Iterator[Action]:
    """Try the wish for an ensemble once more when its models are there now."""
    wish = wanted.wishes.get(model.name)
    definition = wish.definition if wish is not None else None
    if wish is None or definition is None or wish.number > model.settled:
        return
    cause = _cause(definition.config, actual)
    if cause is None or judge(model.name, definition.config, wanted=wanted, actual=actual):
        return
    origin = _origin(cause, wanted, actual)
    yield BeginOperation(wish=msgspec.structs.replace(wish, origin=origin))


def _cause(config: ModelConfig, actual: Actual) -> ModelName | None:
    """Return a model of an ensemble that has changed, if one has."""
    members = config.ensemble.models if config.ensemble is not None and actual.changed else ()
    return next((member for member in members if member in actual.changed), None)


def _origin(cause: ModelName, wanted: Wanted, actual: Actual) -> Origin:
    """Who changed the model: whoever made the wish that is carried out, or nobody."""
    wish, model = wanted.wishes.get(cause), actual.models.get(cause)
    is_wished = wish is not None and model is not None and model.operation is not None
    return wish.origin if wish is not None and is_wished else Origin.CRASH


def _others(wanted: Wanted, gone: dict[ModelName, None]) -> Iterator[ModelDefinition]:
    return (
        wish.definition
        for name, wish in wanted.wishes.items()
        if wish.definition is not None and name not in gone
    )
