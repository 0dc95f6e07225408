"""One request of an ensemble, run as a graph of requests to its models.

Guarantees
    A step begins as soon as the tensors that it reads are there; steps that do not need each other
    run at the same time. Only steps that a wanted output needs are run. The first step that fails
    ends the request and cancels the others; so does a client that goes.
Source
    Triton's ensembles: texts, optional inputs, what is handed to the steps, one pass of the rest
    for each answer of a decoupled step, `max_inflight_requests`, parameters of answers.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Final, Protocol

import msgspec
import orjson

from mpserve.dispatch.ensemble_answer import AnyAnswer, EnsembleAnswer, EnsembleOutput, OnAnswer
from mpserve.dispatch.ensemble_tensors import EnsembleTensor, Pass, shape_for
from mpserve.dispatch.members import Member, in_ensemble
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.model.request import InferRequest, RequestedOutput, SequenceMark
from mpserve.model.tensor import Datatype
from mpserve.telemetry import log

DEADLOCK: Final = (
    "unexpected deadlock, at least one output is not set while no more ensemble steps can be made"
)
_SEQUENCE_PARAMETER: Final = '"sequence_'


class Steps(Protocol):
    """Where the requests of the steps go."""

    def submit(self, member: Member, request: InferRequest, on_answer: OnAnswer) -> int:
        """Send a request to a model; return its token. `on_answer` is never called from here."""
        ...

    def cancel(self, token: int) -> None:
        """Take a request back: nobody is told of its answers any more."""

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call back in the next turn of the loop."""


class EnsembleRun:
    """A request from its first step to its last answer.

    Parameters
    ----------
    on_answer
        Told each answer; several of a decoupled ensemble. Never called from `begin`.
    on_first
        Called before the first response is told, an error too: the nanoseconds it took.
    on_end
        Called once, before the last answer is told: how it ended and the nanoseconds it took.
    """

    def __init__(
        self,
        member: Member,
        request: InferRequest,
        *,
        steps: Steps,
        on_answer: OnAnswer,
        on_first: Callable[[int], None],
        on_end: Callable[[ErrorCode, int], None],
    ) -> None:
        assert member.config.ensemble is not None, f"{member.name} is no ensemble"
        self.member = member
        self._request = request
        self._steps = steps
        self._on_answer = on_answer
        self._on_first = on_first
        self._on_end = on_end
        self._sequence = request.sequence
        self._limit = member.config.ensemble.max_inflight_requests
        self._outputs = _wanted_outputs(member, request)
        self._needed = member.config.ensemble.needed_steps(self._outputs)
        self._told_beats = self._innermost({member.beats.get(name) for name in self._outputs})
        self._in_flight: Counter[int] = Counter()  # by step
        self._tokens: dict[int, int] = {}  # of the requests that run, by their number
        self._numbers = count()
        self._is_over = False
        self._has_responded = False
        self._begun_ns = time.monotonic_ns()
        self._root = self._new_pass(beat=None, outer=None)
        self._passes = [self._root]

    @property
    def rows(self) -> int:
        """Rows of the request, as the statistics count them."""
        inputs = self._request.inputs
        batches = self.member.config.signature.max_batch_size > 0
        return inputs[0].shape[0] if batches and inputs and inputs[0].shape else 1

    def begin(self) -> None:
        """Begin the steps that read nothing but inputs; raises what one of them is refused with."""
        absent = dict.fromkeys(spec.name for spec in self.member.config.signature.inputs)
        given = {
            tensor.name: EnsembleTensor(
                datatype=tensor.datatype,
                shape=tensor.shape,
                data=tensor.data,
                parameters_json=tensor.parameters_json,
            )
            for tensor in self._request.inputs
        }
        self._root.settle({**absent, **given})
        try:
            self._begin_steps()
        except MpserveError as error:
            self._close(error.code)
            raise type(error)(in_ensemble(self.member.name, error.message)) from error
        if not self._tokens:  # what is wanted was given
            self._steps.call_soon(self._tell_what_is_there)

    def cancel(self) -> None:
        """Take all steps back and tell nobody."""
        self._close(ErrorCode.CANCELLED)

    # --- steps -----------------------------------------------------------------------------------

    def _begin_steps(self) -> None:
        for one in tuple(self._passes):
            for index in sorted(one.waiting):
                step = self.member.steps[index].step
                has_room = not self._limit or self._in_flight[index] < self._limit
                if has_room and one.is_settled(step.inputs.values()):
                    self._begin_step(one, index)

    def _begin_step(self, one: Pass, index: int) -> None:
        one.waiting.discard(index)
        number = next(self._numbers)
        on_answer = partial(self._on_step_answer, one, index, number)
        member = self.member.steps[index].member
        self._tokens[number] = self._steps.submit(member, self._step_request(one, index), on_answer)
        self._in_flight[index] += 1
        if not self.member.beats:  # else passes to come may read what was there before them
            self._root.forget(self._is_still_needed)

    def _is_still_needed(self, tensor: str) -> bool:
        return tensor in self._outputs or any(
            tensor in self.member.steps[index].step.inputs.values() for index in self._root.waiting
        )

    def _step_request(self, one: Pass, index: int) -> InferRequest:
        step, signature = self.member.steps[index].step, self.member.steps[index].signature
        tensors = ((name, one.tensor(tensor)) for name, tensor in step.inputs.items())
        return InferRequest(
            id=self._request.id,
            inputs=tuple(
                tensor.as_input(name, signature) for name, tensor in tensors if tensor is not None
            ),
            outputs=tuple(RequestedOutput(name=name, binary=True) for name in step.outputs),
            sequence=self._sequence,
            priority=self._request.priority,
            timeout_us=self._request.timeout_us,
            deadline_ns=self._request.deadline_ns,
            parameters_json=self._request.parameters_json,
            trace_context=self._request.trace_context,
        )

    def _on_step_answer(self, one: Pass, index: int, number: int, answer: AnyAnswer) -> None:
        """Go on with the answer of a step. Called by the dispatcher, so nothing may escape."""
        if self._is_over:
            return
        try:
            self._take(one, index, number, answer)
            if not self._is_over:
                self._begin_steps()
                self._tell_what_is_there()
        except MpserveError as error:
            self._fail(error.failure())
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("request.crashed", request_id=self._request.id, error=repr(error))
            self._fail(Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}"))

    def _take(self, one: Pass, index: int, number: int, answer: AnyAnswer) -> None:
        if answer.final:
            self._in_flight[index] -= 1
            self._tokens.pop(number, None)
        if answer.code:
            self._fail(Failure(code=ErrorCode(answer.code), message=answer.error))
            return
        if _SEQUENCE_PARAMETER in answer.parameters_json:
            self._sequence = _marked(self._sequence, answer.parameters_json)
        step = self.member.steps[index]
        if not step.member.config.decoupled:
            one.settle(_tensors(answer, step.step.outputs))
        elif not answer.is_mark:
            inner = self._new_pass(beat=index, outer=one)
            inner.settle(_tensors(answer, step.step.outputs))
            self._passes.append(inner)

    # --- passes ----------------------------------------------------------------------------------

    def _new_pass(self, *, beat: int | None, outer: Pass | None) -> Pass:
        waiting = (index for index in self._needed if self.member.steps[index].beat == beat)
        return Pass(beat=beat, outer=outer, waiting=waiting)

    def _outer_beats(self, beat: int | None) -> list[int | None]:
        """Return the beats that are heard within `beat`, itself first."""
        beats = [beat]
        while beat is not None:
            beat = self.member.steps[beat].beat
            beats.append(beat)
        return beats

    def _innermost(self, beats: Iterable[int | None]) -> frozenset[int | None]:
        """Return those of `beats` within which no other one of them is heard."""
        wanted = frozenset(beats)
        return wanted.difference(*(frozenset(self._outer_beats(beat)[1:]) for beat in wanted))

    # --- answers ---------------------------------------------------------------------------------

    def _tell_what_is_there(self) -> None:
        """Tell the answers whose outputs are all known, and the end when nothing runs any more."""
        if self._is_over:
            return
        is_decoupled = self.member.config.decoupled
        for one in tuple(self._passes):
            if one.beat not in self._told_beats:
                is_told = True
            else:
                names = self._outputs_within(one)
                is_told = one.is_settled(names)
                if is_told and not self._tell_pass(one, names, final=not is_decoupled):
                    return
            if is_told and not one.waiting:
                self._passes.remove(one)
        if is_decoupled and not self._tokens:
            self._close(ErrorCode.OK)
            self._on_answer(msgspec.structs.replace(self._answer(), is_mark=True))

    def _outputs_within(self, one: Pass) -> list[str]:
        beats = self._outer_beats(one.beat)
        return [name for name in self._outputs if self.member.beats.get(name) in beats]

    def _tell_pass(self, one: Pass, names: list[str], *, final: bool) -> bool:
        """Tell the outputs of a pass; false when that was the end."""
        found = [(name, one.tensor(name)) for name in names]
        outputs = tuple(self._output(name, tensor) for name, tensor in found if tensor is not None)
        if not final:
            if outputs:
                self._respond(self._answer(outputs=outputs, final=False))
            return not self._is_over
        if len(outputs) < len(found):
            self._fail(Failure(code=ErrorCode.INVALID_ARGUMENT, message=DEADLOCK))
            return False
        self._close(ErrorCode.OK)
        self._respond(self._answer(outputs=outputs))
        return False

    def _output(self, name: str, tensor: EnsembleTensor) -> EnsembleOutput:
        signature = self.member.config.signature
        spec = next((spec for spec in signature.outputs if spec.name == name), None)
        return EnsembleOutput(
            name=name,
            datatype=tensor.datatype.name,
            shape=shape_for(tensor.shape, spec, signature),
            data=tensor.data,
            parameters_json=tensor.parameters_json,
        )

    def _answer(
        self, *, outputs: tuple[EnsembleOutput, ...] = (), final: bool = True
    ) -> EnsembleAnswer:
        return EnsembleAnswer(
            model_name=self.member.name,
            model_version=self.member.version,
            request_id=self._request.id or "",
            final=final,
            outputs=outputs,
            parameters_json=_sequence_parameters(self._sequence) if outputs else "",
        )

    def _respond(self, answer: EnsembleAnswer) -> None:
        """Tell an answer that is more than the mark of the end."""
        if not self._has_responded:
            self._has_responded = True
            self._on_first(time.monotonic_ns() - self._begun_ns)
        self._on_answer(answer)

    # --- the end ---------------------------------------------------------------------------------

    def _fail(self, failure: Failure) -> None:
        if self._is_over:
            return
        self._close(failure.code)
        error = in_ensemble(self.member.name, failure.message)
        self._respond(msgspec.structs.replace(self._answer(), code=int(failure.code), error=error))

    def _close(self, code: ErrorCode) -> None:
        """Let go of everything; whoever is told something more is told by the caller."""
        if self._is_over:
            return
        self._is_over = True
        tokens, self._tokens = self._tokens, {}
        for token in tokens.values():
            self._steps.cancel(token)
        self._passes.clear()
        self._on_end(code, time.monotonic_ns() - self._begun_ns)


def _wanted_outputs(member: Member, request: InferRequest) -> tuple[str, ...]:
    declared = tuple(spec.name for spec in member.config.signature.outputs)
    asked = tuple(output.name for output in request.outputs)
    return tuple(name for name in declared if name in asked) if asked else declared


def _tensors(answer: AnyAnswer, mapped: dict[str, str]) -> dict[str, EnsembleTensor | None]:
    """Return the tensors that an answer brings, by their names in the ensemble."""
    found: dict[str, EnsembleTensor | None] = dict.fromkeys(mapped.values())
    for output in answer.outputs:
        if output.name in mapped:
            found[mapped[output.name]] = EnsembleTensor(
                datatype=Datatype[output.datatype],
                shape=output.shape,
                data=output.data,
                parameters_json=output.parameters_json,
            )
    return found


class _SequenceParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a step may say about the sequence for the steps after it."""

    sequence_id: int | str | None = None
    sequence_start: bool | None = None
    sequence_end: bool | None = None


def _sequence_parameters(mark: SequenceMark) -> str:
    """Return what every answer of an ensemble says of its sequence; id 0 where there is none."""
    told = {
        "sequence_id": mark.text or mark.number,
        "sequence_start": mark.starts,
        "sequence_end": mark.ends,
    }
    return orjson.dumps(told).decode()


def _marked(mark: SequenceMark, parameters_json: str) -> SequenceMark:
    told = msgspec.convert(orjson.loads(parameters_json), _SequenceParameters)
    number, text = mark.number, mark.text
    match told.sequence_id:
        case int():
            number, text = told.sequence_id, ""
        case str():
            number, text = 0, told.sequence_id
        case None:
            pass
    return SequenceMark(
        number=number,
        text=text,
        starts=mark.starts if told.sequence_start is None else told.sequence_start,
        ends=mark.ends if told.sequence_end is None else told.sequence_end,
    )
