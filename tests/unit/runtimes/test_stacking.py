import json

import numpy as np
import pytest

from mpserve.errors import InvalidRequest
from mpserve.runtimes.responses import Answer, Output
from mpserve.runtimes.stacking import StackedRequest, alike, answer_together

from .plain import PlainRequest, PlainResponses, outputs, tensor, texts


def request(array, **fields):
    return PlainRequest(tensor("x", np.asarray(array, dtype=np.float32)), **fields)


class Doubling:
    """Doubles the rows and remembers how many it saw at once."""

    def __init__(self, refused=None):
        self.rows = []
        self.refused = refused

    def __call__(self, asked):
        array = asked.inputs()[0].as_numpy()
        self.rows.append(len(array))
        if self.refused is not None and self.refused in array:
            raise InvalidRequest(f"{self.refused} is refused")
        return Answer(outputs=[Output(name="y", array=array * 2)])


def answer(predict, *requests):
    return answer_together(requests, PlainResponses(), predict)


def doubled(responses):
    return [outputs(response)["y"].tolist() for response in responses]


def test_requests_that_are_alike_are_one_call_and_get_their_own_rows():
    predict = Doubling()
    responses = answer(predict, request([[1], [2]]), request([[3]]), request(np.zeros((0, 1))))
    assert predict.rows == [3]
    assert doubled(responses) == [[[2], [4]], [[6]], []]


@pytest.mark.parametrize(
    "other",
    [
        request([[1, 2]]),
        PlainRequest(tensor("y", np.ones((1, 1), dtype=np.float32))),
        PlainRequest(tensor("x", np.ones((1, 1)))),
        PlainRequest(tensor("x", np.ones((1, 1), dtype=np.float32), content_type="np")),
        request([[1]], parameters={"threshold": 1}),
        request([[1]], outputs=["y"]),
        request([[1]], outputs=["y"], output_parameters={"y": {"content_type": "np"}}),
        PlainRequest(*request([[1]]).inputs(), *request([[1]]).inputs()),
    ],
    ids=[
        "row shape",
        "name",
        "datatype",
        "tensor parameters",
        "parameters",
        "outputs",
        "output parameters",
        "number of inputs",
    ],
)
def test_requests_that_differ_in_more_than_rows_are_not_stacked(other):
    assert alike([request([[1]]), other, request([[2]])]) == [[0, 2], [1]]


def test_a_request_without_rows_of_its_own_is_alone():
    scalar = PlainRequest(tensor("x", np.float32(1)))
    uneven = PlainRequest(tensor("a", np.ones((1, 1))), tensor("b", np.ones((2, 1))))
    empty = PlainRequest()
    assert alike([scalar, scalar]) == [[0], [1]]
    assert alike([uneven, uneven]) == [[0], [1]]
    assert alike([empty, empty]) == [[0], [1]]


def test_the_order_of_the_batch_is_kept_over_its_groups():
    predict = Doubling()
    responses = answer(predict, request([[1]]), request([[2, 2]]), request([[3]]))
    assert sorted(predict.rows) == [1, 2]
    assert doubled(responses) == [[[2]], [[4, 4]], [[6]]]


def test_an_error_of_one_request_is_no_other_ones():
    predict = Doubling(refused=2)
    first, second, third = answer(predict, request([[1]]), request([[2]]), request([[3]]))
    assert predict.rows == [3, 1, 1, 1]
    assert second.failure.message == "2 is refused"
    assert doubled([first, third]) == [[[2]], [[6]]]


@pytest.mark.parametrize("summary", [np.float32(6), np.ones((1, 2)), np.ones((4, 1))])
def test_an_output_without_a_row_for_each_is_asked_for_one_by_one(summary):
    calls = []

    def predict(asked):
        calls.append(asked)
        return Answer(outputs=[Output(name="y", array=np.asarray(summary))])

    responses = answer(predict, request([[1]]), request([[2]]), request([[3]]))
    assert len(calls) == 4
    assert doubled(responses) == [np.asarray(summary).tolist()] * 3


def test_a_stacked_request_looks_like_one_of_its_parts():
    fields = {
        "parameters": {"a": 1},
        "outputs": ["y"],
        "output_parameters": {"y": {"content_type": "np"}},
    }
    words = [PlainRequest(tensor("x", texts(*words)), **fields) for words in ("ab", "c")]
    stacked = StackedRequest(words)
    (whole,) = stacked.inputs()
    assert whole.as_numpy().tolist() == [b"a", b"b", b"c"]
    assert (whole.name(), list(whole.shape()), whole.datatype_name()) == ("x", [3], "BYTES")
    assert not whole.as_numpy().flags.writeable
    assert stacked.rows == [2, 1]
    assert json.loads(stacked.parameters()) == {"a": 1}
    assert stacked.requested_output_names() == ["y"]
    assert json.loads(stacked.output_parameters_json("y")) == {"content_type": "np"}
    assert stacked.request_id() == ""
