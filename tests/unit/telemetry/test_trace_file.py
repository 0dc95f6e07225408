"""Files of traces: one array, whoever writes."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mpserve.dispatch.ensemble_answer import EnsembleOutput
from mpserve.telemetry.trace_file import append, clear, file_of
from mpserve.telemetry.trace_record import tensor_record


def test_a_file_is_an_array_after_each_trace(tmp_path):
    path = tmp_path / "t.json"
    for number in range(3):
        append(str(path), [{"id": number}, {"id": number, "more": "]"}])
        assert len(json.loads(path.read_text())) == 2 * (number + 1)
    append(str(path), [])
    assert len(json.loads(path.read_text())) == 6


def test_writers_take_turns(tmp_path):
    path = str(tmp_path / "t.json")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append(path, [{"id": number}] * 5), range(100)))
    found = [record["id"] for record in json.loads((tmp_path / "t.json").read_text())]
    assert found[::5] == found[4::5]
    assert sorted(found[::5]) == list(range(100))


def test_a_start_clears_the_file_and_its_parts(tmp_path):
    path = tmp_path / "t.json"
    for name in ("t.json", "t.json.0", "t.json.12", "t.json.bak"):
        append(str(tmp_path / name), [{"id": 1}])
    (tmp_path / "t.json.13").write_text("somebody's own")
    (tmp_path / "t.json.14").mkdir()
    clear(str(path))
    left = ["t.json", "t.json.13", "t.json.14", "t.json.bak"]
    assert sorted(one.name for one in tmp_path.iterdir()) == left
    assert path.read_text() == ""


def test_a_file_that_can_not_be_written_is_told_and_costs_nothing_else(tmp_path, capfd):
    append(str(tmp_path / "no" / "t.json"), [{"id": 1}])
    assert "trace.unwritable" in capfd.readouterr().err + capfd.readouterr().out


def test_traces_lie_in_files_of_so_many():
    assert [file_of("t", ticket=number, log_frequency=2) for number in range(4)] == [
        "t.0", "t.0", "t.1", "t.1",
    ]  # fmt: skip
    assert file_of("t", ticket=9, log_frequency=0) == "t"


@pytest.mark.parametrize(
    ("datatype", "data", "text"),
    [
        ("FP32", np.array([0.1, 1e10, 2], np.float32), "0.1,1e+10,2"),
        ("FP64", np.array([1 / 3]), "0.333333"),
        ("INT8", np.array([-1, 5], np.int8), "-1,5"),
        ("UINT64", np.array([2**63], np.uint64), str(2**63)),
        ("BOOL", np.array([True, False]), "1,0"),
        ("FP16", np.array([1], np.float16), ""),
        ("BYTES", b"\x02\0\0\0ab\x00\0\0\0", '"ab",""'),
    ],
)
def test_values_are_told_as_text(datatype, data, text):
    output = EnsembleOutput(name="T", datatype=datatype, shape=(2, 1), data=memoryview(data))
    assert tensor_record(3, "TENSOR_QUEUE_INPUT", output, datatype) == {
        "id": 3,
        "activity": "TENSOR_QUEUE_INPUT",
        "tensor": {"name": "T", "data": text, "shape": "2,1", "dtype": datatype},
    }
