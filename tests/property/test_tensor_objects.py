"""Arrays survive the way through blocks and model objects, whatever their datatype and layout."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mpserve import _native
from mpserve.compat import triton_python_backend_utils as pb_utils
from tests.fixtures.native_requests import block, request

DTYPES = st.sampled_from(
    ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">i4", ">f8"]
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TEXTS = st.one_of(st.binary(max_size=9), st.text(st.characters(exclude_categories=["Cs"])))


@st.composite
def any_layout(draw):
    """An array that may be transposed, reversed or strided."""
    array = draw(arrays.arrays(draw(DTYPES), draw(SHAPES)))
    if draw(st.booleans()):
        array = array.T
    if array.ndim and draw(st.booleans()):
        array = array[:: draw(st.sampled_from([-1, 2]))]
    return array


@given(any_layout())
def test_numbers_survive_from_output_to_input_and_back(array):
    held = block({"IN": array})
    received = held.request()
    (tensor,) = received.inputs()
    seen = tensor.as_numpy()
    assert seen.shape == array.shape
    assert seen.tobytes() == np.ascontiguousarray(array).astype(seen.dtype).tobytes()
    response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", seen)])
    ((_, word, shape, _, content),) = _native.LoopbackAnswer(received, response).outputs()
    assert (word, tuple(shape), content) == (tensor.datatype_name(), array.shape, seen.tobytes())
    del received, tensor, response
    assert held.is_leased
    del seen
    assert not held.is_leased


@given(st.lists(TEXTS, max_size=6))
def test_texts_survive_as_bytes(texts):
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    expected = [text if isinstance(text, bytes) else text.encode() for text in texts]
    (tensor,) = request({"IN": array}).inputs()
    assert tensor.as_numpy().tolist() == expected
    encoded = pb_utils.serialize_byte_tensor(array)
    response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)])
    ((_, _, _, _, content),) = _native.LoopbackAnswer(request(), response).outputs()
    assert content == (encoded or b"")
    assert pb_utils.deserialize_bytes_tensor(content).tolist() == expected


@given(any_layout())
def test_dlpack_gives_the_same_numbers(array):
    source = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
    tensor = pb_utils.Tensor.from_dlpack("T", source)
    assert tensor.as_numpy().tobytes() == source.tobytes()
    assert np.from_dlpack(tensor).shape == source.shape
