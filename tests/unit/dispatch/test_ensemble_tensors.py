"""Shapes between models that batch and models that do not, and passes of tensors."""

import pytest

from mpserve.dispatch.ensemble_tensors import EnsembleTensor, Pass, shape_for
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype

TENSOR = EnsembleTensor(datatype=Datatype.UINT8, shape=(1,), data=b"x")


@pytest.mark.parametrize(
    ("shape", "wanted", "batch", "expected"),
    [
        pytest.param((4,), (4,), 0, (4,), id="as it is"),
        pytest.param((2, 4), (-1, 4), 8, (2, 4), id="a batch stays a batch"),
        pytest.param((4,), (-1, 4), 8, (1, 4), id="a batch of one is made"),
        pytest.param((1, 4), (4,), 0, (4,), id="a batch of one is undone"),
        pytest.param((2, 4), (4,), 0, (2, 4), id="a batch of two is not"),
        pytest.param((1, 4), (-1, -1), 0, (1, 4), id="what fits is not changed"),
        pytest.param((3,), (-1, 4), 8, (3,), id="what never fits is the model's to refuse"),
    ],
)
def test_a_shape_is_made_to_fit_where_that_means_the_same(shape, wanted, batch, expected):
    spec = TensorSpec(name="i", datatype=Datatype.FP32, shape=wanted)
    assert shape_for(shape, spec, Signature(inputs=(spec,), max_batch_size=batch)) == expected


def test_an_undeclared_input_takes_any_shape():
    assert shape_for((3, 4), None, Signature(open_inputs=True)) == (3, 4)


def test_an_inner_pass_sees_what_the_outer_one_has():
    outer = Pass(beat=None, outer=None, waiting=())
    inner = Pass(beat=0, outer=outer, waiting=())
    assert not inner.is_settled(["a", "b"])
    outer.settle({"a": TENSOR})
    inner.settle({"b": None})
    assert inner.is_settled(["a", "b"])
    assert not outer.is_settled(["b"])
    assert (inner.tensor("a"), inner.tensor("b")) == (TENSOR, None)


def test_a_forgotten_tensor_gives_its_memory_back_and_stays_settled():
    one = Pass(beat=None, outer=None, waiting=())
    one.settle({"a": TENSOR, "b": TENSOR})
    one.forget(lambda name: name == "b")
    assert (one.tensor("a"), one.tensor("b")) == (None, TENSOR)
    assert one.is_settled(["a"])
