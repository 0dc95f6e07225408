"""The folder for model files of load calls: private, and gone with its server."""

import os
import stat
from pathlib import Path

import pytest

from mpserve.errors import RepositoryError
from mpserve.repository.private_folder import (
    FOLDER_PREFIX,
    PrivateFolder,
    sweep_private_folders,
)


def test_the_folder_is_for_this_user_alone_and_goes_with_all_that_is_in_it(tmp_path):
    folder = PrivateFolder.create(str(tmp_path))
    (made,) = tmp_path.iterdir()
    assert str(made) == folder.path
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    (made / "model").mkdir()
    (made / "model" / "weights").write_text("w")
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_server_lives_is_left_alone(tmp_path):
    folder = PrivateFolder.create(str(tmp_path))
    assert sweep_private_folders(str(tmp_path)) == 0
    assert Path(folder.path).is_dir()
    folder.close()


def test_a_folder_whose_server_was_killed_is_removed(tmp_path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # a server that ends without a word
        PrivateFolder.create(str(tmp_path))
        os.write(writer, b".")
        os._exit(9)
    assert os.read(reader, 1) == b"."
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert len(list(tmp_path.iterdir())) == 1
    assert sweep_private_folders(str(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_only_looks_like_a_folder_of_a_server_is_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("k")
    (tmp_path / f"{FOLDER_PREFIX}file").write_text("f")
    (tmp_path / f"{FOLDER_PREFIX}link").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    assert sweep_private_folders(str(tmp_path)) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_is_not_there_is_nothing_to_sweep_and_refused_for_a_folder(tmp_path):
    absent = str(tmp_path / "absent")
    assert sweep_private_folders(absent) == 0
    with pytest.raises(RepositoryError, match="failed to create a directory for model files"):
        PrivateFolder.create(absent)
