"""Files of traces: one array, whoever writes."""

import fcntl
import json
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mpserve.dispatch.ensemble_answer import EnsembleOutput
from mpserve.telemetry import trace_file
from mpserve.telemetry.trace_file import append, check, clear, file_of
from mpserve.telemetry.trace_record import identity_record, moment_record, tensor_record
from tests.fixtures.waiting import wait_until

TRACE = moment_record(1, "HTTP_RECV_START", 5)
IDENTITY = identity_record(12, model="m", version="1", request_id="", parent_id=0)
TENSOR = tensor_record(
    3,
    "TENSOR_QUEUE_INPUT",
    EnsembleOutput(name="T", datatype="INT8", shape=(1,), data=memoryview(b"1")),
    "INT8",
)


def test_a_file_is_an_array_after_each_trace(tmp_path):
    path = tmp_path / "t.json"
    for number in range(3):
        append(str(path), [moment_record(number, "A", 1), {"id": number, "more": "]"}])
        assert len(json.loads(path.read_text())) == 2 * (number + 1)
    append(str(path), [])
    assert len(json.loads(path.read_text())) == 6


def test_writers_take_turns(tmp_path):
    path = str(tmp_path / "t.json")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append(path, [moment_record(number, "A", 1)] * 5), range(100)))
    found = [record["id"] for record in json.loads((tmp_path / "t.json").read_text())]
    assert found[::5] == found[4::5]
    assert sorted(found[::5]) == list(range(100))


@pytest.mark.parametrize("name", ["t.json", "t[1].json"])
def test_a_start_clears_the_file_and_its_parts(tmp_path, name):
    path = tmp_path / name
    for end in ("", ".0", ".12", ".bak"):
        append(f"{path}{end}", [TRACE])
    foreign = {f"{name}.13": "somebody's own", f"{name}.14": '[{"id":1,"name":"x"}]'}
    for other, text in foreign.items():
        (tmp_path / other).write_text(text)
    (tmp_path / f"{name}.15").mkdir()
    (tmp_path / f"{name}.16").touch()
    clear(str(path))
    left = [name, f"{name}.13", f"{name}.14", f"{name}.15", f"{name}.16", f"{name}.bak"]
    assert sorted(one.name for one in tmp_path.iterdir()) == left
    assert path.read_text() == ""
    assert {other: (tmp_path / other).read_text() for other in foreign} == foreign


@pytest.mark.parametrize("text", ["x", "somebody's own", '[{"id":1,"name":"x"}]', "[]"])
def test_what_is_no_trace_is_neither_cleared_nor_added_to(tmp_path, text, capfd):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(FileExistsError, match="something else than traces"):
        clear(str(path))
    append(str(path), [TRACE])
    assert path.read_text() == text
    told = capfd.readouterr()
    assert "something else than traces" in told.err + told.out
    with pytest.raises(FileExistsError, match="something else than traces"):
        check(str(path))


@pytest.mark.parametrize("record", [TRACE, IDENTITY, TENSOR], ids=["moment", "model", "tensor"])
def test_whatever_a_trace_begins_with_is_known(tmp_path, record):
    path = str(tmp_path / "t.json")
    check(path)
    append(path, [record])
    check(path)
    append(path, [record])
    clear(path)
    assert (tmp_path / "t.json").read_text() == ""


def test_a_file_that_can_not_be_written_is_told_and_costs_nothing_else(tmp_path, capfd):
    append(str(tmp_path / "no" / "t.json"), [{"id": 1}])
    assert "trace.unwritable" in capfd.readouterr().err + capfd.readouterr().out


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_what_is_no_file_is_told_without_a_wait(tmp_path, capfd, kind):
    path = tmp_path / "t.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = Path("/dev/full")
    for what in (check, clear):
        with pytest.raises(OSError, match=r"is no regular file|Is a directory"):
            what(str(path))
    append(str(path), [TRACE])
    told = capfd.readouterr()
    assert "trace.unwritable" in told.err + told.out


def test_a_trace_without_room_is_taken_back(tmp_path, capfd):
    """Also one of which a part was written; a limit of the file's size stands for a full disk."""
    path = tmp_path / "t.json"
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        append(str(tmp_path / "other.json"), [{"id": 1, "timestamps": "x" * 2000}])
        for _ in range(100):
            append(str(path), [TRACE])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        append(str(path), [TRACE])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "other.json").read_bytes() == b""
    records = json.loads(path.read_text())
    assert 3 < len(records) < 100
    assert set(map(str, records)) == {str(dict(TRACE))}
    told = capfd.readouterr()
    assert "trace.unwritable" in told.err + told.out


def test_who_keeps_the_file_locked_costs_traces_and_hardly_any_time(tmp_path, capfd):
    path = tmp_path / "t.json"
    append(str(path), [TRACE])
    with path.open() as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        begun = time.monotonic()
        for _ in range(100):
            append(str(path), [TRACE])
        assert time.monotonic() - begun < 60 * trace_file._TURN_SECONDS
    told = capfd.readouterr()
    assert "another process keeps the file locked" in told.err + told.out
    wait_until(lambda: append(str(path), [TRACE]) or len(json.loads(path.read_text())) == 2)


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
