"""What to do next, as imperatives. Each is observed when it is issued, then carried out."""

import msgspec

from mpserve.errors import Failure
from mpserve.lifecycle.misfit import Misfit
from mpserve.lifecycle.wanted import Wish
from mpserve.model.definition import ModelDefinition
from mpserve.model.event import Origin
from mpserve.model.identity import Generation, InstanceKey, ModelName


class Action(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all actions."""


class BeginOperation(Action, frozen=True, kw_only=True):
    """Start to carry out a wish: make the generations and instances that it needs."""

    wish: Wish


class CheckFolder(Action, frozen=True, kw_only=True):
    """Everything has loaded: look whether the folder is still as it was when the wish was made."""

    name: ModelName
    wish: int
    definition: ModelDefinition


class CommitOperation(Action, frozen=True, kw_only=True):
    """Everything has loaded: swap all versions at once."""

    name: ModelName


class AbortOperation(Action, frozen=True, kw_only=True):
    """Something did not load: let go of all that is new, keep all that serves."""

    name: ModelName
    failure: Failure


class SettleWish(Action, frozen=True, kw_only=True):
    """Answer those who made the wish; `failure` is `None` on success."""

    name: ModelName
    number: int
    failure: Failure | None


class AdmitGeneration(Action, frozen=True, kw_only=True):
    """Its turn to load has come: make its queue."""

    name: ModelName
    generation: Generation


class RetryGeneration(Action, frozen=True, kw_only=True):
    """Load once more after a failure."""

    name: ModelName
    generation: Generation


class FailGeneration(Action, frozen=True, kw_only=True):
    """Its load has failed for good."""

    name: ModelName
    generation: Generation


class WithdrawGeneration(Action, frozen=True, kw_only=True):
    """All its instances were given up: take it out of the routing table, with the reason."""

    name: ModelName
    generation: Generation
    failure: Failure


class AssembleGeneration(Action, frozen=True, kw_only=True):
    """The models of an ensemble are there, or `misfit` says why it can not serve with them.

    `decoupled` is whether one of them is, which makes the ensemble so.
    """

    name: ModelName
    generation: Generation
    misfit: Misfit | None
    decoupled: bool = False


class AdaptEnsemble(Action, frozen=True, kw_only=True):
    """Its models have changed so that it is decoupled now, or is not any more."""

    name: ModelName
    generation: Generation
    decoupled: bool


class WithdrawEnsemble(Action, frozen=True, kw_only=True):
    """Its models have changed so that it can not serve: take it out of the routing table.

    `origin` is who changed them.
    """

    name: ModelName
    generation: Generation
    misfit: Misfit
    origin: Origin


class LingerGeneration(Action, frozen=True, kw_only=True):
    """It is replaced, but sequences go on in it: keep it until they end, or until `deadline_ns`.

    `deadline_ns` is of the monotonic clock; 0 for never.
    """

    name: ModelName
    generation: Generation
    deadline_ns: int


class RetireGeneration(Action, frozen=True, kw_only=True):
    """No frontend names it any more: close its queue for good."""

    name: ModelName
    generation: Generation


class RemoveGeneration(Action, frozen=True, kw_only=True):
    """Its last process is gone: answer what is left in its queue and remove the queue."""

    name: ModelName
    generation: Generation


class StartInstance(Action, frozen=True, kw_only=True):
    """Start a worker. `deadline_ns` is when its load counts as failed (monotonic clock)."""

    instance: InstanceKey
    complete_config: bool
    deadline_ns: int


class StopInstance(Action, frozen=True, kw_only=True):
    """Let the worker finish what it executes, and end.

    `deadline_ns` is when it is ended all the same (monotonic clock); 0 for never.
    """

    instance: InstanceKey
    deadline_ns: int


class KillInstance(Action, frozen=True, kw_only=True):
    """End a worker that loads, or that does not end by itself; `failure` is why."""

    instance: InstanceKey
    failure: Failure


class PublishTable(Action, frozen=True, kw_only=True):
    """Tell all frontends the present rows of `names` under the next number."""

    number: int
    names: frozenset[ModelName]
