"""One request of an ensemble, against steps that answer when the test says so."""

import msgspec
import pytest

from mpserve._native import Answer, OutputTensor
from mpserve.dispatch.ensemble_answer import EnsembleAnswer, EnsembleOutput
from mpserve.dispatch.ensemble_run import DEADLOCK, EnsembleRun
from mpserve.dispatch.members import Member, MemberStep
from mpserve.errors import ErrorCode, QueueFull
from mpserve.model.config import ModelConfig
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.request import InferRequest, InputTensor, RequestedOutput, SequenceMark
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype


def spec(name, *, optional=False):
    return TensorSpec(name=name, datatype=Datatype.UINT8, shape=(-1,), optional=optional)


def member(name, inputs, outputs, *, decoupled=False):
    signature = Signature(
        inputs=tuple(spec(one.rstrip("?"), optional=one.endswith("?")) for one in inputs.split()),
        outputs=tuple(spec(one) for one in outputs.split()),
    )
    return Member(
        name=name,
        version="1",
        config=ModelConfig(signature=signature, decoupled=decoupled),
        route=None,
        is_default=False,
        generations=frozenset({1}),
    )


def ensemble(inputs, outputs, *steps, beats=None, limit=0):
    """Return an ensemble; a step is (member, inputs, outputs[, beat])."""
    graph = Ensemble(
        steps=tuple(
            Step(model=one.name, version="", inputs=given, outputs=made)
            for one, given, made, *_ in steps
        ),
        max_inflight_requests=limit,
    )
    whole = member("e", inputs, outputs, decoupled=bool(beats))
    return msgspec.structs.replace(
        whole,
        config=msgspec.structs.replace(whole.config, ensemble=graph),
        beats=beats or {},
        steps=tuple(
            MemberStep(step=step, member=one, beat=beat[0] if beat else None)
            for step, (one, _, _, *beat) in zip(graph.steps, steps, strict=True)
        ),
    )


class Bench:
    """Steps that wait for the test, and what the run told."""

    def __init__(self, whole, *, refuse=(), **inputs):
        self.sent = []  # (member's name, request, callback)
        self.cancelled = []
        self.answers = []
        self.firsts = []  # number of answers that were told before
        self.ends = []
        self.soon = []
        self._refuse = refuse
        tensors = tuple(
            InputTensor(name=name, datatype=Datatype.UINT8, shape=(len(data),), data=data)
            for name, data in inputs.items()
        )
        self.request = InferRequest(inputs=tensors, id="r", priority=3, timeout_us=9)
        self.whole = whole

    def run(self, **changes):
        request = msgspec.structs.replace(self.request, **changes)
        self.it = EnsembleRun(
            self.whole,
            request,
            steps=self,
            on_answer=self.answers.append,
            on_first=lambda _: self.firsts.append(len(self.answers)),
            on_end=lambda code, _: self.ends.append(code),
        )
        self.it.begin()
        return self

    def submit(self, member, request, on_answer):
        if member.name in self._refuse:
            raise QueueFull("Exceeds maximum queue size")
        self.sent.append((member.name, request, on_answer))
        return len(self.sent) - 1

    def cancel(self, token):
        self.cancelled.append(token)

    def call_soon(self, callback):
        self.soon.append(callback)

    def names(self):
        return [name for name, _, _ in self.sent]

    def given(self, index):
        return {tensor.name: bytes(tensor.data) for tensor in self.sent[index][1].inputs}

    def answer(self, index, *, final=True, code=0, error="", parameters="", **outputs):
        self.sent[index][2](
            EnsembleAnswer(
                model_name="",
                model_version="",
                code=code,
                error=error,
                final=final,
                is_mark=final and not outputs and not code,
                parameters_json=parameters,
                outputs=tuple(
                    EnsembleOutput(name=name, datatype="UINT8", shape=(len(data),), data=data)
                    for name, data in outputs.items()
                ),
            )
        )

    def told(self):
        return [
            ({one.name: bytes(one.data) for one in answer.outputs}, answer.final)
            for answer in self.answers
        ]


M, N = member("m", "i", "o"), member("n", "i", "o")
J = member("j", "a b?", "o")
D = member("d", "i", "o", decoupled=True)
CHAIN = ensemble("X", "Y", (M, {"i": "X"}, {"o": "T"}), (N, {"i": "T"}, {"o": "Y"}))
DIAMOND = ensemble(
    "X",
    "Y",
    (J, {"a": "L", "b": "R"}, {"o": "Y"}),
    (M, {"i": "X"}, {"o": "L"}),
    (N, {"i": "X"}, {"o": "R"}),
)


def test_a_step_begins_when_what_it_reads_is_there():
    bench = Bench(CHAIN, X=b"x").run()
    assert bench.names() == ["m"]
    memory = memoryview(b"t")
    bench.answer(0, o=memory)
    assert bench.names() == ["m", "n"]
    assert bench.sent[1][1].inputs[0].data is memory, "the tensor is handed on as it came"
    assert bench.answers == []
    bench.answer(1, o=b"y")
    assert bench.told() == [({"Y": b"y"}, True)]
    assert bench.ends == [ErrorCode.OK]


def test_steps_that_do_not_need_each_other_begin_together_in_any_order_of_the_graph():
    bench = Bench(DIAMOND, X=b"x").run()
    assert bench.names() == ["m", "n"]
    bench.answer(1, o=b"r")
    assert bench.names() == ["m", "n"]
    bench.answer(0, o=b"l")
    assert bench.given(2) == {"a": b"l", "b": b"r"}


def test_what_the_client_asked_for_beside_tensors_goes_to_every_step():
    mark = SequenceMark(number=7, starts=True)
    bench = Bench(CHAIN, X=b"x").run(sequence=mark, parameters_json='{"p":1}')
    bench.answer(0, o=b"t", parameters='{"sequence_start": false, "sequence_end": true}')
    first, second = (request for _, request, _ in bench.sent)
    for request in (first, second):
        assert (request.id, request.priority, request.timeout_us) == ("r", 3, 9)
        assert request.parameters_json == '{"p":1}'
        assert request.outputs == (RequestedOutput(name="o", binary=True),)
    assert first.sequence == mark
    assert second.sequence == SequenceMark(number=7, starts=False, ends=True)


def test_a_failing_step_ends_the_request_and_takes_the_others_back():
    bench = Bench(DIAMOND, X=b"x").run()
    bench.answer(0, code=int(ErrorCode.UNAVAILABLE), error="no")
    (answer,) = bench.answers
    assert (answer.code, answer.error) == (int(ErrorCode.UNAVAILABLE), "in ensemble 'e', no")
    assert bench.cancelled == [1]
    assert bench.ends == [ErrorCode.UNAVAILABLE]
    bench.answer(1, o=b"late")
    assert len(bench.answers) == 1


def test_a_step_that_is_refused_at_the_beginning_is_raised_and_later_is_answered():
    bench = Bench(DIAMOND, refuse={"n"}, X=b"x")
    with pytest.raises(QueueFull, match="in ensemble 'e', Exceeds maximum queue size"):
        bench.run()
    assert (bench.cancelled, bench.ends, bench.answers) == ([0], [ErrorCode.EXHAUSTED], [])
    bench = Bench(CHAIN, refuse={"n"}, X=b"x").run()
    bench.answer(0, o=b"t")
    assert bench.answers[0].error == "in ensemble 'e', Exceeds maximum queue size"


def test_a_client_that_goes_takes_everything_back_and_hears_nothing():
    bench = Bench(DIAMOND, X=b"x").run()
    bench.it.cancel()
    bench.it.cancel()
    assert (bench.cancelled, bench.ends, bench.answers) == ([0, 1], [ErrorCode.CANCELLED], [])


def test_an_output_that_a_step_leaves_out_is_missed_only_where_it_is_needed():
    bench = Bench(DIAMOND, X=b"x").run()
    bench.answer(0, o=b"l")
    bench.answer(1)
    assert bench.given(2) == {"a": b"l"}, "`b` is optional"
    bench.answer(2)
    assert bench.answers[0].error == f"in ensemble 'e', {DEADLOCK}"


def test_an_output_that_is_an_input_is_told_in_the_next_turn():
    whole = ensemble("X", "X Y", (M, {"i": "X"}, {"o": "Y"}))
    bench = Bench(whole, X=b"x").run(outputs=(RequestedOutput(name="X"),))
    assert (bench.names(), bench.answers) == ([], [])
    for callback in bench.soon:
        callback()
    assert bench.told() == [({"X": b"x"}, True)]


def test_steps_that_no_wanted_output_needs_do_not_run():
    whole = ensemble("X", "Y Z", (M, {"i": "X"}, {"o": "Y"}), (N, {"i": "X"}, {"o": "Z"}))
    bench = Bench(whole, X=b"x").run(outputs=(RequestedOutput(name="Z"),))
    assert bench.names() == ["n"]


# --- decoupled -----------------------------------------------------------------------------------

STREAM = ensemble(
    "X",
    "Y",
    (D, {"i": "X"}, {"o": "T"}),
    (J, {"a": "T", "b": "X"}, {"o": "Y"}, 0),
    beats={"T": 0, "Y": 0},
    limit=2,
)


def test_each_answer_of_a_decoupled_step_makes_a_pass_of_its_own():
    bench = Bench(STREAM, X=b"x").run()
    bench.answer(0, final=False, o=b"1")
    bench.answer(0, final=False, o=b"2")
    assert [bench.given(index) for index in (1, 2)] == [
        {"a": b"1", "b": b"x"},
        {"a": b"2", "b": b"x"},
    ]
    bench.answer(2, o=b"B")
    bench.answer(1, o=b"A")
    bench.answer(0)
    assert bench.told() == [({"Y": b"B"}, False), ({"Y": b"A"}, False), ({}, True)]
    assert bench.ends == [ErrorCode.OK]
    assert bench.firsts == [0], "the first response is told of once, before it"


def test_only_so_many_requests_of_a_step_are_in_flight():
    bench = Bench(STREAM, X=b"x").run()
    for number in range(4):
        bench.answer(0, final=number == 3, o=b"%d" % number)
    assert bench.names() == ["d", "j", "j"]
    bench.answer(1, o=b"a")
    assert bench.names() == ["d", "j", "j", "j"]
    for index in (2, 3):
        bench.answer(index, o=b"b")
    assert bench.names().count("j") == 4
    assert bench.ends == []
    bench.answer(4, o=b"c")
    assert bench.ends == [ErrorCode.OK]


def test_a_decoupled_step_without_answers_ends_the_request():
    bench = Bench(STREAM, X=b"x").run()
    bench.answer(0)
    assert bench.told() == [({}, True)]
    assert bench.firsts == [], "the mark of the end is no response"


def test_an_error_is_a_response_too():
    bench = Bench(STREAM, X=b"x").run()
    bench.answer(0, code=int(ErrorCode.MODEL_FAILED), error="broken")
    assert bench.firsts == [0]
    bench = Bench(STREAM, X=b"x").run()
    bench.answer(0, final=False, o=b"1")
    bench.answer(1, o=b"A")
    bench.answer(0, code=int(ErrorCode.MODEL_FAILED), error="broken")
    assert [one.code for one in bench.answers] == [0, int(ErrorCode.MODEL_FAILED)]
    assert bench.firsts == [0]


@pytest.mark.parametrize(
    ("ours", "core"), [(EnsembleAnswer, Answer), (EnsembleOutput, OutputTensor)]
)
def test_what_an_ensemble_answers_has_all_that_the_cores_answers_have(ours, core):
    of_core = {name for name in vars(core) if not name.startswith("_")}
    assert of_core
    assert of_core <= set(ours.__struct_fields__)
