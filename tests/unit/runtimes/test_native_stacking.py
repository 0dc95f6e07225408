"""Batches that are computed with one call, on the native requests and responses of workers."""

import gc
import json

import numpy as np
import pytest

pytest.importorskip("mpserve._native")

from mpserve import _native
from mpserve.runtimes.responses import Answer, NativeResponses, Output
from mpserve.runtimes.stacking import StackedRequest, alike, answer_together
from tests.fixtures.native_requests import block, context, request

from .plain import texts

pytestmark = pytest.mark.native

OPEN = context(output_names=(), open_outputs=True)
SINGLE = np.float32
PAIR = {"a": np.ones((2, 1)), "b": np.ones((2, 3))}


def rows(array, **fields):
    return request({"x": np.asarray(array, dtype=SINGLE)}, context=OPEN, **fields)


def with_tensor_parameters(parameters):
    tensor = _native.Tensor("x", np.ones((1, 1), dtype=SINGLE), parameters_json=parameters)
    return _native.LoopbackRequest([tensor], OPEN).request()


def sent(one_request, response):
    """The answer's outputs as (name, shape, parameters, elements)."""
    answer = _native.LoopbackAnswer(one_request, response)
    assert answer.error == ""
    return [
        (name, shape, parameters, np.frombuffer(data, dtype=SINGLE).tolist())
        for name, _, shape, parameters, data in answer.outputs()
    ]


OTHERS = {
    "row shape": rows([[1, 2]]),
    "rank": rows([[[1]]]),
    "name": request({"y": np.ones((1, 1), dtype=SINGLE)}, context=OPEN),
    "datatype": request({"x": np.ones((1, 1), dtype="f8")}, context=OPEN),
    "datatype of the same size": request({"x": np.ones((1, 1), dtype="i4")}, context=OPEN),
    "tensor parameters": with_tensor_parameters('{"content_type":"np"}'),
    "parameters": rows([[1]], parameters_json='{"threshold":1}'),
    "outputs": rows([[1]], outputs=[("y", "")]),
    "output parameters": rows([[1]], outputs=[("y", '{"content_type":"np"}')]),
    "number of inputs": request(
        {"x": np.ones((1, 1), dtype=SINGLE), "y": np.ones((1, 1), dtype=SINGLE)}, context=OPEN
    ),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_requests_that_differ_in_more_than_rows_are_not_alike(other):
    assert alike([rows([[1]]), other, rows([[2], [3]])]) == [[0, 2], [1]]
    assert other.likeness() == other.likeness()


def test_texts_that_only_look_alike_when_they_stand_together_are_not():
    first = rows([[1]], outputs=[("ab", "c")])
    second = rows([[1]], outputs=[("a", "bc")])
    assert first.likeness() != second.likeness()


def test_requests_with_several_inputs_are_alike_whatever_their_rows():
    first, second = (
        request({name: array[:count] for name, array in PAIR.items()}, context=OPEN)
        for count in (1, 2)
    )
    assert first.likeness() == second.likeness() is not None


@pytest.mark.parametrize(
    "alone",
    [
        request({"x": np.array(1, dtype=SINGLE)}, context=OPEN),
        request({"a": np.ones((1, 1)), "b": np.ones((2, 1))}, context=OPEN),
        request({}, context=OPEN),
        rows([[1]], flags=_native.HANDLER_CALL),
    ],
    ids=["scalar", "uneven", "no inputs", "call of a handler"],
)
def test_a_request_without_rows_of_its_own_is_like_no_other(alone):
    assert alone.likeness() is None


def test_one_call_answers_each_request_with_its_own_rows():
    asked = [rows([[1], [2]]), rows(np.zeros((0, 1))), rows([[3]])]

    def double(whole):
        doubled = whole.inputs()[0].as_numpy() * 2
        outputs = [Output(name="y", array=doubled, parameters_json='{"p":1}')]
        return Answer(outputs=outputs, parameters_json='{"q":2}', headers=b"a\0b\0")

    answered = answer_together(asked, NativeResponses(), double)
    assert [sent(*pair) for pair in zip(asked, answered, strict=True)] == [
        [("y", [2, 1], '{"p":1}', [2, 4])],
        [("y", [0, 1], '{"p":1}', [])],
        [("y", [1, 1], '{"p":1}', [6])],
    ]
    answers = [_native.LoopbackAnswer(*pair) for pair in zip(asked, answered, strict=True)]
    assert [json.loads(answer.parameters) for answer in answers] == [{"q": 2}] * 3


def test_texts_are_divided_like_numbers():
    whole = Answer(outputs=[Output(name="y", array=texts("a", "bb", "ccc"))])
    first, second = NativeResponses().answer_rows(whole, [2, 1])
    (tensor,) = second.output_tensors()
    assert tensor.as_numpy().tolist() == [b"ccc"]
    assert list(tensor.shape()) == [1]
    (tensor,) = first.output_tensors()
    assert tensor.as_numpy().tolist() == [b"a", b"bb"]


@pytest.mark.parametrize(
    "array", [np.array(6.0), np.ones((1, 2)), np.ones((4, 1))], ids=["scalar", "1", "4"]
)
def test_an_output_without_a_row_for_each_is_not_divided(array):
    fitting = Output(name="x", array=np.ones((3, 1)))
    whole = Answer(outputs=[fitting, Output(name="y", array=array)])
    assert NativeResponses().answer_rows(whole, [1, 2]) is None


def test_rows_of_an_output_outlive_the_array_that_they_come_from():
    array = np.arange(4, dtype="f8").reshape(2, 2)
    responses = NativeResponses().answer_rows(
        Answer(outputs=[Output(name="y", array=array)]), [1, 1]
    )
    del array
    (tensor,) = responses[1].output_tensors()
    kept = tensor.as_numpy()
    del responses, tensor
    gc.collect()
    assert kept.tolist() == [[2, 3]]


def test_stacked_inputs_hold_no_block():
    place = block({"x": np.ones((1, 2), dtype=SINGLE)}, context=OPEN)
    stacked = StackedRequest([place.request(), place.request()])
    array = stacked.inputs()[0].as_numpy()
    del stacked
    gc.collect()
    assert array.shape == (2, 2)
    assert not place.is_leased
