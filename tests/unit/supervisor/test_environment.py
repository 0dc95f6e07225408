"""Python environments of models, as folders and as archives."""

import os
import re
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from mpserve.errors import LoadError
from mpserve.supervisor.environment import interpreter_of, prepare_environment

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def make(tmp_path):
    """Make a folder that looks like an environment."""

    def make_it(*, version=VERSION, tool=""):
        folder = tmp_path / "made"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
        (folder / "lib" / version).mkdir(parents=True)
        if tool:
            (folder / "bin" / "conda-unpack").write_text(tool)
        return folder

    return make_it


@pytest.fixture
def pack(make, tmp_path):
    def pack_it(**fields):
        folder = make(**fields)
        archive = tmp_path / "environment.tar.gz"
        with tarfile.open(archive, "w:gz") as opened:
            for path in sorted(folder.iterdir()):
                opened.add(path, arcname=path.name)
        return archive

    return pack_it


def prepare(place, tmp_path, *, is_activated=False):
    return prepare_environment(
        str(place), directory=str(tmp_path / "unpacked"), is_activated=is_activated
    )


def test_a_folder_is_taken_as_it_is(make, tmp_path):
    folder = make()
    assert prepare(folder, tmp_path) == folder
    assert not (tmp_path / "unpacked").exists()


def test_an_archive_is_unpacked_once_into_a_private_folder(pack, tmp_path):
    archive = pack()
    first = prepare(archive, tmp_path)
    assert interpreter_of(first).readlink() == Path(sys.executable)
    (first / "mark").touch()
    assert prepare(archive, tmp_path) == first
    assert (first / "mark").exists()
    assert first.parent.stat().st_mode & 0o777 == 0o700


def test_a_changed_archive_is_another_environment(pack, tmp_path):
    archive = pack()
    first = prepare(archive, tmp_path)
    os.utime(archive, ns=(0, 5))
    assert prepare(archive, tmp_path) != first


def test_many_at_once_unpack_it_once(pack, tmp_path):
    count = tmp_path / "count"
    archive = pack(tool=f"open({str(count)!r}, 'a').write('x')")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(prepare(archive, tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert count.read_text() == "x"


def test_a_tool_that_fails_leaves_nothing(pack, tmp_path):
    archive = pack(tool="raise SystemExit(3)")
    with pytest.raises(LoadError, match="conda-unpack failed"):
        prepare(archive, tmp_path)
    assert [path.suffix for path in (tmp_path / "unpacked").iterdir()] == [".lock"]


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "broken.tar.gz").write_bytes(b"nothing")
    with pytest.raises(LoadError, match=r"can not be unpacked"):
        prepare(tmp_path / "broken.tar.gz", tmp_path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(LoadError, match="there is no such folder or archive"):
        prepare(tmp_path / "absent", tmp_path)


def test_a_folder_without_python_is_told(tmp_path):
    with pytest.raises(LoadError, match="has no bin/python"):
        prepare(tmp_path, tmp_path)


def test_an_environment_of_tritons_without_an_activation_is_told_in_tritons_words(make, tmp_path):
    folder = make()
    text = (
        f"Path {folder}/bin/activate does not exist. The Python environment should contain an "
        "'activate' script."
    )
    with pytest.raises(LoadError, match=f"^{re.escape(text)}$"):
        prepare(folder, tmp_path, is_activated=True)
    (folder / "bin" / "activate").touch()
    assert prepare(folder, tmp_path, is_activated=True) == folder


def test_another_version_of_python_is_told(make, tmp_path):
    with pytest.raises(LoadError, match=f"has python3.4; this server runs on {VERSION}"):
        prepare(make(version="python3.4"), tmp_path)
