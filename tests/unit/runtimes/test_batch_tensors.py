"""What a model is told of a batch of unlike requests, and how its answer is divided."""

import numpy as np
import pytest

from mpserve.errors import ModelError
from mpserve.model.triton.config import BatchInput
from mpserve.runtimes.batch_tensors import (
    BatchTensors,
    ScatteredOutput,
    added_inputs,
    batch_tensors_of,
    scattered,
)
from mpserve.runtimes.gathering import answer_gathered
from mpserve.runtimes.responses import Answer, Output

from .plain import PlainRequest, PlainResponses, outputs, tensor

SHAPES = [(1, 2), (1, 4), (1, 1), (1, 3)]  # as in Triton's own tests
ITEMS = [(2, 1, 2), (1, 1, 2), (1, 2, 2)]


def told(kind, shapes, data_type="TYPE_FP32"):
    one = BatchInput(kind=kind, target_name=("T",), data_type=data_type, source_input=("S",))
    return added_inputs(BatchTensors(inputs=(one,)), {"S": shapes})["T"]


@pytest.mark.parametrize(
    ("kind", "shapes", "values"),
    [
        ("BATCH_ELEMENT_COUNT", SHAPES, [2, 4, 1, 3]),
        ("BATCH_ELEMENT_COUNT", ITEMS, [4, 2, 4]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT", SHAPES, [2, 6, 7, 10]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", SHAPES, [0, 2, 6, 7, 10]),
        ("BATCH_ITEM_SHAPE", ITEMS, [[1, 2], [1, 2], [1, 2], [2, 2]]),
        ("BATCH_ITEM_SHAPE_FLATTEN", [(1, 4, 1), (1, 1, 2), (1, 2, 2)], [4, 1, 1, 2, 2, 2]),
        ("BATCH_ITEM_SHAPE", [(0, 3)], []),
    ],
)
def test_each_kind_tells_what_triton_tells(kind, shapes, values):
    assert told(kind, shapes).tolist() == values


def test_the_largest_count_is_told_by_the_shape():
    assert told("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", SHAPES).shape == (4,)


@pytest.mark.parametrize(
    ("data_type", "dtype"), [("TYPE_FP32", np.float32), ("TYPE_INT32", np.int32)]
)
def test_values_are_of_the_configured_type(data_type, dtype):
    for kind in ("BATCH_ELEMENT_COUNT", "BATCH_ITEM_SHAPE"):
        assert told(kind, SHAPES, data_type).dtype == dtype


def test_a_row_is_divided_by_the_shapes_of_an_input():
    output = ScatteredOutput(source="S", shape=(-1, -1, 2))
    parts = scattered(output, "O", np.arange(12).reshape(3, 4), [(1, 2), (2, 1)])
    assert [part.tolist() for part in parts] == [
        [[[0, 1], [2, 3]]],
        [[[4, 5]], [[6, 7]]],
    ]


def test_a_row_that_is_too_short_is_an_error():
    output = ScatteredOutput(source="S", shape=(-1, -1))
    with pytest.raises(ModelError, match="has 3 elements; those of the batch, .* are 4"):
        scattered(output, "O", np.zeros(3), [(1, 2), (2, 1)])


def test_a_configuration_says_all_of_it_and_mostly_nothing():
    assert not batch_tensors_of("").is_used
    assert not batch_tensors_of('{"name": "m", "input": [{"name": "S"}]}').is_used
    read = batch_tensors_of(
        '{"name": "m", "max_batch_size": 2,'
        '"input": [{"name": "S", "dims": [-1], "allow_ragged_batch": true}],'
        '"output": [{"name": "O", "dims": [4], "reshape": {"shape": [2, 2]}}],'
        '"batch_input": [{"kind": "BATCH_ITEM_SHAPE", "target_name": ["T", "U"]}],'
        '"batch_output": [{"target_name": ["O"], "source_input": ["S"]}]}'
    )
    assert read.is_used
    assert read.ragged == {"S"}
    assert read.input_names == ("T", "U")
    assert read.outputs == {"O": ScatteredOutput(source="S", shape=(-1, 2, 2))}


# --- requests put together ------------------------------------------------------------------------

COUNT = BatchInput(
    kind="BATCH_ELEMENT_COUNT",
    target_name=("COUNT",),
    data_type="TYPE_INT32",
    source_input=("S",),
)
RAGGED = BatchTensors(
    ragged=frozenset({"S"}),
    inputs=(COUNT,),
    outputs={"ROW": ScatteredOutput(source="S", shape=(-1, -1))},
    batches=True,
)


class Model:
    """Doubles the row, and gives the counts back; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, request):
        given = {one.name(): one.as_numpy() for one in request.inputs()}
        self.asked.append({name: array.tolist() for name, array in given.items()})
        if (given["S"] < 0).any():
            raise ValueError("negative")
        found = {"ROW": given["S"] * 2, "COUNTED": given["COUNT"]}
        wanted = request.requested_output_names() or found
        return Answer(outputs=[Output(name=name, array=found[name]) for name in wanted])


def request(*values, **options):
    return PlainRequest(tensor("S", np.array([values], dtype=np.float32)), **options)


def ask(model, *requests):
    return answer_gathered(requests, PlainResponses(), model, RAGGED)


def test_unlike_requests_are_one_call_and_each_gets_its_part():
    model = Model()
    answers = [outputs(one) for one in ask(model, request(1, 2), request(3))]
    assert model.asked == [{"S": [1, 2, 3], "COUNT": [2, 1]}]
    assert [one["ROW"].tolist() for one in answers] == [[[2, 4]], [[6]]]
    assert [one["COUNTED"].tolist() for one in answers] == [[2], [1]]


def test_a_lone_request_is_a_batch_of_one():
    model = Model()
    assert outputs(ask(model, request(1, 2))[0])["ROW"].tolist() == [[2, 4]]
    assert model.asked == [{"S": [1, 2], "COUNT": [2]}]


def test_each_gets_the_outputs_that_it_asked_for():
    model = Model()
    answers = ask(model, request(1, outputs=["ROW"]), request(2, 3, outputs=["COUNTED"]))
    assert [list(outputs(one)) for one in answers] == [["ROW"], ["COUNTED"]]
    answers = ask(model, request(1, outputs=["ROW"]), request(2, 3))
    assert [list(outputs(one)) for one in answers] == [["ROW"], ["ROW", "COUNTED"]]


def test_one_that_fails_fails_alone():
    model = Model()
    first, second, third = ask(model, request(1), request(-1), request(2))
    assert outputs(first)["ROW"].tolist() == [[2]]
    assert "negative" in second.failure.message
    assert outputs(third)["ROW"].tolist() == [[4]]


def test_requests_with_other_shapes_where_that_is_not_allowed_are_calls_of_their_own():
    def with_more(width):
        more = tensor("MORE", np.zeros((1, width), dtype=np.float32))
        return PlainRequest(tensor("S", np.ones((1, 1), dtype=np.float32)), more)

    model = Model()
    answers = ask(model, with_more(1), with_more(2), with_more(1))
    assert [one["COUNT"] for one in model.asked] == [[1, 1], [1]]
    assert [outputs(one)["ROW"].tolist() for one in answers] == [[[2]]] * 3


def test_an_output_without_a_row_for_each_is_told_what_to_do():
    def whole(request):
        del request
        return Answer(outputs=[Output(name="OUT", array=np.zeros(5))])

    (answer,) = answer_gathered([request(1, 2)], PlainResponses(), whole, RAGGED)
    assert "has the shape [5]; the batch has 1 rows. Name it in 'batch_output'" in (
        answer.failure.message
    )


def test_an_input_that_is_told_of_can_not_be_left_out():
    (answer,) = ask(Model(), PlainRequest(tensor("OTHER", np.zeros((1, 1), dtype=np.float32))))
    assert answer.failure.message == "input 'S' is missing, whose size the model is told"
