import stat
from pathlib import Path

import pytest

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.repository.found import Override
from mpserve.repository.override import discard, materialise

CONFIG = "{}"


def made(tmp_path, files):
    return Path(materialise(Override(config=CONFIG, files=files), parent=str(tmp_path)))


def test_files_are_written_into_a_private_directory(tmp_path):
    directory = made(tmp_path, {"1/model.py": b"x", "1/sub/a": b"", "labels.txt": b"\0\xff"})
    assert (directory / "1/model.py").read_bytes() == b"x"
    assert (directory / "labels.txt").read_bytes() == b"\0\xff"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    discard(str(directory))
    assert not directory.exists()
    discard(str(directory))


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "1/../../x", "", ".", "1/..", "..", "a\0b", "1/../../../../tmp/x"]
)
def test_paths_that_leave_the_directory_are_refused_and_nothing_is_written(tmp_path, path):
    with pytest.raises(InvalidRequest, match="must stay within model directory") as refused:
        made(tmp_path, {"1/ok": b"", path: b"x"})
    assert f"Invalid file parameter 'file:{path}' with normalized path '" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_path_deeper_than_recursion_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(InvalidRequest, match="2002 folders deep, at most 64 are supported"):
        made(tmp_path, {"1/ok": b"", "1/" + "a/" * 2000 + "x": b""})
    assert list(tmp_path.iterdir()) == []
    assert made(tmp_path, {"a/" * 63 + "x": b""}).is_dir()


def test_dots_that_stay_inside_are_fine(tmp_path):
    directory = made(tmp_path, {"1/../2/./model.py": b"x"})
    assert (directory / "2/model.py").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"1": b"", "1/model.py": b""},
            "Invalid file parameter 'file:1/model.py', directory has been created as a file",
        ),
        (
            {"1": b"", "1/a/model.py": b""},
            "Invalid file parameter 'file:1/a/model.py', directory has been created as a file",
        ),
        (
            {"1/model.py": b"", "1": b""},
            "Invalid file parameter 'file:1', file has been created as a directory",
        ),
        (
            {"a": b"", "./a": b""},
            "Invalid file parameter 'file:./a', file has been created by another parameter",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, files, message):
    with pytest.raises(InvalidRequest) as refused:
        made(tmp_path, files)
    assert str(refused.value) == message
    assert list(tmp_path.iterdir()) == []


def test_files_need_a_configuration(tmp_path):
    with pytest.raises(
        InvalidRequest, match="Load parameter 'config' must be specified for model file override"
    ):
        materialise(Override(files={"1/model.py": b""}), parent=str(tmp_path))


def test_a_name_the_disk_refuses_is_an_error_of_the_repository(tmp_path):
    with pytest.raises(RepositoryError, match="failed to write file"):
        made(tmp_path, {"x" * 300: b""})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_parent_directory_is_an_error_of_the_repository(tmp_path):
    with pytest.raises(RepositoryError, match="failed to create a directory"):
        materialise(Override(config=CONFIG, files={"a": b""}), parent=str(tmp_path / "gone"))
