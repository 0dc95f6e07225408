import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from mpserve import _native
from mpserve.compat import triton_python_backend_utils as pb_utils
from tests.fixtures.native_requests import block, request

NUMERIC = [
    ("bool", "BOOL", 1),
    ("uint8", "UINT8", 2),
    ("uint16", "UINT16", 3),
    ("uint32", "UINT32", 4),
    ("uint64", "UINT64", 5),
    ("int8", "INT8", 6),
    ("int16", "INT16", 7),
    ("int32", "INT32", 8),
    ("int64", "INT64", 9),
    ("float16", "FP16", 10),
    ("float32", "FP32", 11),
    ("float64", "FP64", 12),
]


def answer_of(*tensors, **fields):
    return _native.LoopbackAnswer(request(**fields), pb_utils.InferenceResponse(list(tensors)))


def sent_bytes(tensor):
    ((_, _, _, _, content),) = answer_of(tensor).outputs()
    return content


@pytest.mark.parametrize(("dtype", "word", "number"), NUMERIC)
def test_an_input_is_a_read_only_view_of_its_block(dtype, word, number):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tensor,) = request({"IN": array}).inputs()
    view = tensor.as_numpy()
    assert (tensor.name(), tensor.shape()) == ("IN", [2, 3])
    assert (tensor.datatype_name(), tensor.triton_dtype()) == (word, number)
    assert view.dtype == array.dtype
    assert view.tolist() == array.tolist()
    assert not view.flags.writeable
    assert not view.flags.owndata


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 4)])
def test_shapes_without_elements_or_dimensions_are_kept(shape):
    (tensor,) = request({"IN": np.ones(shape, dtype=np.float32)}).inputs()
    assert tensor.shape() == list(shape)
    assert tensor.as_numpy().shape == shape


def test_an_array_that_is_kept_keeps_its_block_unchanged():
    held = block({"IN": np.arange(4, dtype=np.int32)})
    kept = held.request().inputs()[0].as_numpy()[1:]
    gc.collect()
    assert held.is_leased
    assert kept.tolist() == [1, 2, 3]
    del kept
    assert not held.is_leased


def test_a_tensor_that_is_kept_keeps_its_block():
    held = block({"IN": np.arange(4, dtype=np.int32)})
    tensor = held.request().inputs()[0]
    assert held.is_leased
    del tensor
    assert not held.is_leased


def test_reading_a_request_leaves_nothing_leased():
    held = block({"IN": np.arange(4, dtype=np.int32), "TEXT": np.array([b"a"], dtype=object)})
    received = held.request()
    assert [tensor.as_numpy().size for tensor in received.inputs()] == [4, 1]
    assert pb_utils.get_input_tensor_by_name(received, "IN").as_numpy().sum() == 6
    del received
    assert not held.is_leased


def test_bytes_inputs_are_object_arrays_of_bytes_whatever_they_were_made_of():
    array = np.array([[b"\x00\xff", "ü"], [7, b""]], dtype=object)
    (tensor,) = request({"TEXT": array}).inputs()
    assert tensor.datatype_name() == "BYTES"
    assert tensor.as_numpy().tolist() == [[b"\x00\xff", "ü".encode()], [b"7", b""]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array(["ab", "c"]), [b"ab", b"c"]),
        (np.array([b"ab", b"c"]), [b"ab", b"c"]),
        (np.array(["é", None], dtype=object), ["é".encode(), b"None"]),
    ],
    ids=["str", "bytes", "object"],
)
def test_string_arrays_of_every_kind_are_bytes_on_the_wire(array, expected):
    content = b"".join(len(item).to_bytes(4, "little") + item for item in expected)
    assert sent_bytes(pb_utils.Tensor("OUT", array)) == content


def test_a_model_s_own_array_is_not_changed_by_encoding_it():
    array = np.array([1, None], dtype=object)
    sent_bytes(pb_utils.Tensor("OUT", array))
    assert array.tolist() == [1, None]


def test_text_that_can_not_be_encoded_is_an_error():
    tensor = pb_utils.Tensor("OUT", np.array(["\ud800"], dtype=object))
    with pytest.raises(UnicodeEncodeError):
        sent_bytes(tensor)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(12, dtype=np.float32)[::2],
        np.arange(6, dtype=">f4"),
        np.broadcast_to(np.float32(3), (2, 2)),
    ],
    ids=["transposed", "strided", "big-endian", "broadcast"],
)
def test_arrays_of_any_layout_are_sent_in_c_order(array):
    expected = np.ascontiguousarray(array).astype("<f4").tobytes()
    assert sent_bytes(pb_utils.Tensor("OUT", array)) == expected


def test_a_contiguous_output_is_not_copied_before_it_is_sent():
    array = np.zeros(3, dtype=np.int32)
    tensor = pb_utils.Tensor("OUT", array)
    assert tensor.as_numpy() is array
    array[:] = 7
    assert sent_bytes(tensor) == array.tobytes()


def test_large_outputs_are_sent_whole():
    array = np.arange(3 << 20, dtype=np.uint8)  # above the size that lets other threads run
    assert sent_bytes(pb_utils.Tensor("OUT", array)) == array.tobytes()


def test_the_shape_of_an_output_is_the_one_it_was_made_with():
    array = np.zeros((2, 3), dtype=np.float32)
    tensor = pb_utils.Tensor("OUT", array)
    del array
    assert tensor.shape() == [2, 3]
    ((_, _, shape, _, _),) = answer_of(tensor).outputs()
    assert shape == [2, 3]


def test_wrong_tensors_are_refused_with_tritons_words():
    array = np.zeros(1, dtype=np.float32)
    with pytest.raises(
        pb_utils.TritonModelException, match=r"^Tensor name cannot be an empty string\.$"
    ):
        pb_utils.Tensor("", array)
    with pytest.raises(TypeError, match="expected a numpy.ndarray, got <class 'list'>"):
        pb_utils.Tensor("x", [1.0])
    with pytest.raises(pb_utils.TritonModelException, match="'complex64' has no Triton datatype"):
        pb_utils.Tensor("x", array.astype(np.complex64))
    with pytest.raises(pb_utils.TritonModelException, match="40 dimensions; at most 32"):
        pb_utils.Tensor("x", np.zeros((1,) * 40))


def test_a_subclass_of_a_tensor_is_a_tensor():
    class Named(pb_utils.Tensor):
        def __init__(self, array):
            super().__init__("OUT", array)

    assert sent_bytes(Named(np.array([5], dtype=np.uint8))) == b"\x05"


def test_inputs_can_be_read_by_other_libraries_without_a_copy():
    received = request({"IN": np.arange(6, dtype=np.float32).reshape(2, 3)})
    (tensor,) = received.inputs()
    taken = np.from_dlpack(tensor)
    assert tensor.__dlpack_device__() == (1, 0)
    assert taken.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not taken.flags.writeable
    assert np.shares_memory(taken, tensor.as_numpy())


def test_memory_taken_by_dlpack_keeps_the_block():
    held = block({"IN": np.arange(4, dtype=np.int32)})
    taken = np.from_dlpack(held.request().inputs()[0])
    assert held.is_leased
    assert taken.tolist() == [0, 1, 2, 3]
    del taken
    assert not held.is_leased


def test_a_capsule_that_nobody_takes_gives_the_block_back():
    held = block({"IN": np.arange(4, dtype=np.int32)})
    capsule = held.request().inputs()[0].to_dlpack()
    assert held.is_leased
    del capsule
    assert not held.is_leased


def test_tensors_are_made_from_dlpack_without_a_copy():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    tensor = pb_utils.Tensor.from_dlpack("OUT", array)
    assert np.shares_memory(tensor.as_numpy(), array)
    assert (tensor.shape(), tensor.datatype_name()) == ([2, 3], "INT16")
    del array
    assert sent_bytes(tensor) == np.arange(6, dtype=np.int16).tobytes()
    again = pb_utils.Tensor.from_dlpack("AGAIN", tensor.to_dlpack())
    assert again.as_numpy().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_dlpack_refuses_what_it_can_not_carry():
    with pytest.raises(
        pb_utils.TritonModelException, match="^DLPack tensor is not contiguous. Only"
    ):
        pb_utils.Tensor.from_dlpack("x", np.zeros((2, 3), dtype=np.float32).T)
    text = pb_utils.Tensor("x", np.array([b"a"], dtype=object))
    with pytest.raises(
        pb_utils.TritonModelException,
        match=r"^DLPack does not have support for string tensors\.$",
    ):
        text.to_dlpack()
    with pytest.raises(AttributeError):
        pb_utils.Tensor.from_dlpack("x", 3)


def test_the_core_is_imported_without_numpy():
    code = "import sys, mpserve._native; sys.exit('numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
