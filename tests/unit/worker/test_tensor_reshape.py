"""Tensors that a model knows by another shape than its clients."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpserve import _native
from tests.fixtures.native_requests import block


def context(
    *, inputs: list[tuple] | None = None, outputs: list[tuple] | None = None
) -> _native.InstanceContext:
    return _native.InstanceContext(
        instance_name="m_0",
        output_names=["OUT"],
        open_outputs=False,
        absent_parameters="{}",
        input_reshapes=inputs or [],
        output_reshapes=outputs or [],
    )


def array(*shape: int) -> np.ndarray:
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


def given_shape(sent: tuple[int, ...], reshape: tuple) -> tuple[int, ...]:
    """Return the shape that a model sees of an input, whose values must not change."""
    held = block({"IN": array(*sent)}, context=context(inputs=[("IN", *reshape)]))
    (tensor,) = held.request().inputs()
    seen = tensor.as_numpy()
    assert seen.ravel().tolist() == array(*sent).ravel().tolist()
    assert tuple(tensor.shape()) == seen.shape
    return seen.shape


def told_shape(made: tuple[int, ...], reshape: tuple) -> tuple[int, ...]:
    """Return the shape that a client is told of an output."""
    held = block({}, context=context(outputs=[("OUT", *reshape)]))
    response = _native.InferenceResponse([_native.Tensor("OUT", array(*made))])
    ((_, _, shape, _, data),) = _native.LoopbackAnswer(held.request(), response).outputs()
    assert data == array(*made).tobytes()
    return tuple(shape)


CASES = [
    pytest.param((2, 3), ([2, 3], [6]), (6,), id="flattened"),
    pytest.param((5, 2, 3), ([-1, 2, 3], [-1, 3, 2]), (5, 3, 2), id="with a batch"),
    pytest.param((4, 1), ([-1, 1], [-1]), (4,), id="a scalar in each row"),
    pytest.param((7,), ([-1], [1, -1]), (1, 7), id="more dimensions"),
    pytest.param((4, 5, 2, 6), ([-1, -1, 2, -1], [-1, 2, -1, -1]), (4, 2, 5, 6), id="free sizes"),
    pytest.param((2, 4), ([2, 3], [6]), (2, 4), id="one that does not fit is left"),
    pytest.param((6,), ([2, 3], [6]), (6,), id="another rank is left"),
    pytest.param((0, 3), ([-1, 3], [3, -1]), (3, 0), id="empty"),
]


@pytest.mark.parametrize(("sent", "reshape", "seen"), CASES)
def test_a_model_sees_its_own_shape_of_an_input(sent, reshape, seen):
    assert given_shape(sent, reshape) == seen


@pytest.mark.parametrize(("made", "reshape", "told"), CASES)
def test_a_client_is_told_the_configured_shape_of_an_output(made, reshape, told):
    assert told_shape(made, reshape) == told


def test_tensors_of_other_names_keep_their_shape():
    held = block({"A": array(2, 3), "B": array(2, 3)}, context=context(inputs=[("B", [2, 3], [6])]))
    assert [tuple(one.shape()) for one in held.request().inputs()] == [(2, 3), (6,)]


@given(
    sizes=st.lists(st.integers(0, 4), max_size=3),
    fixed=st.lists(st.sampled_from([1, 2, 3]), max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_there_and_back_is_the_shape_that_was_sent(sizes, fixed, order):
    places = [*(-1 for _ in sizes), *fixed]
    dims, shape = list(places), list(places)
    order.shuffle(dims)
    order.shuffle(shape)
    free = iter(sizes)
    sent = tuple(next(free) if size == -1 else size for size in dims)
    seen = given_shape(sent, (dims, shape))
    assert math.prod(seen) == math.prod(sent)
    assert told_shape(seen, (shape, dims)) == sent


@pytest.mark.parametrize(
    ("reshape", "text"),
    [
        (([-1, 2], [2]), "free dimensions"),
        (([1] * 65, [1]), "too many dimensions"),
    ],
)
def test_a_reshape_that_can_not_be_is_refused(reshape, text):
    with pytest.raises(ValueError, match=text):
        context(inputs=[("IN", *reshape)])
