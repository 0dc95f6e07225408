import importlib
import sys

import numpy as np
import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils


def test_models_import_it_by_tritons_name(monkeypatch):
    monkeypatch.delitem(sys.modules, pb_utils.MODULE_NAME, raising=False)
    pb_utils.supply()
    assert importlib.import_module("triton_python_backend_utils") is pb_utils
    monkeypatch.delitem(sys.modules, pb_utils.MODULE_NAME)


def test_constants_have_tritons_values():
    assert pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START == 1
    assert pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END == 2
    assert pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL == 1
    assert pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL == 1
    assert pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE == 2


def test_datatypes_are_translated_both_ways():
    for number in range(1, 14):
        assert pb_utils.numpy_to_triton_type(pb_utils.triton_to_numpy_type(number)) == number
    assert pb_utils.triton_to_numpy_type(11) is np.float32
    assert pb_utils.triton_to_numpy_type(99) is None
    assert pb_utils.numpy_to_triton_type(np.dtype("float32")) == 11
    assert pb_utils.numpy_to_triton_type(np.bytes_) == 13
    assert pb_utils.numpy_to_triton_type(np.complex64) is None
    assert pb_utils.triton_string_to_numpy("TYPE_BOOL") is bool
    assert pb_utils.triton_string_to_numpy("TYPE_STRING") is np.object_
    with pytest.raises(KeyError):
        pb_utils.triton_string_to_numpy("TYPE_BF16")


def test_bytes_tensors_are_serialized_and_back():
    array = np.array([[b"ab", "ü"], [3, b""]], dtype=object)
    encoded = b"\2\0\0\0ab\2\0\0\0\xc3\xbc\1\0\0\0003\0\0\0\0"
    assert pb_utils.serialize_byte_tensor(array) == encoded
    decoded = pb_utils.deserialize_bytes_tensor(encoded)
    assert decoded.dtype == np.object_
    assert decoded.tolist() == [b"ab", b"\xc3\xbc", b"3", b""]


def test_serializing_what_is_no_bytes_tensor():
    assert pb_utils.serialize_byte_tensor(np.array([], dtype=object)) == ()
    assert pb_utils.serialize_byte_tensor(np.zeros(2)) is None


def test_a_bytes_tensor_that_is_cut_off_is_refused():
    with pytest.raises(ValueError, match="cut off"):
        pb_utils.deserialize_bytes_tensor(b"\5\0\0\0ab")


def test_the_logger_writes_into_the_log(capfd):
    pb_utils.Logger.log_info("one")
    pb_utils.Logger.log("two", pb_utils.Logger.WARNING)
    pb_utils.Logger.log_error("three\nlines")
    pb_utils.Logger.log_verbose("hidden")
    written = capfd.readouterr().err
    assert "model.logged message=one" in written
    assert "two" in written
    assert "three" in written
    assert "hidden" not in written


def test_the_native_module_has_the_same_classes(monkeypatch):
    for name in ("triton_python_backend_utils", "c_python_backend_utils"):
        monkeypatch.setitem(sys.modules, name, None)
    pb_utils.supply()
    c_utils = importlib.import_module("c_python_backend_utils")
    for name in set(c_utils.__all__) & set(pb_utils.__all__):
        assert getattr(c_utils, name) is getattr(pb_utils, name), name
    assert {"Tensor", "InferenceRequest", "InferenceResponse", "TritonError"} <= set(dir(c_utils))
    assert c_utils.MetricKind.COUNTER is c_utils.COUNTER is pb_utils.MetricFamily.COUNTER
    assert c_utils.shared_memory.free_memory() > 0
