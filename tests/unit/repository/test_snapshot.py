import os
from pathlib import Path

from mpserve.repository.snapshot import take_snapshot


def paths(snapshot):
    return [stamp.path for stamp in snapshot.files]


def test_snapshot_lists_files_and_directories(root, write):
    write({"m/1/model.py": "x", "m/config.pbtxt": ""})
    (root / "m" / "2").mkdir()
    snapshot = take_snapshot(f"{root}/m")
    assert paths(snapshot) == ["1/model.py", "config.pbtxt"]
    assert snapshot.directories == ("1", "2")
    status = (root / "m/1/model.py").stat()
    assert snapshot.files[0].size_bytes == 1
    assert snapshot.files[0].mtime_ns == status.st_mtime_ns
    assert snapshot.files[0].inode == status.st_ino


def test_what_tools_write_does_not_change_a_snapshot(root, write):
    write({"m/1/model.py": "x"})
    before = take_snapshot(f"{root}/m")
    write(
        {
            "m/1/__pycache__/model.cpython-311.pyc": "x",
            "m/.ipynb_checkpoints/model-checkpoint.py": "x",
            "m/1/.model.py.swp": "x",
            "m/1/model.py~": "x",
        }
    )
    assert take_snapshot(f"{root}/m") == before


def test_a_file_replaced_by_an_equal_one_changes_a_snapshot(root, write):
    write({"m/a": "x", "other": "y"})
    before = take_snapshot(f"{root}/m")
    stamp = (root / "m/a").stat()
    os.utime(root / "other", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (root / "other").replace(root / "m/a")
    assert take_snapshot(f"{root}/m") != before


def test_links_are_followed_and_show_their_target(root, write):
    write({"data/1/model.py": "abc", "m/config.pbtxt": ""})
    (root / "m/1").symlink_to(root / "data/1")
    assert paths(take_snapshot(f"{root}/m")) == ["1/model.py", "config.pbtxt"]


def test_links_that_lead_back_end_the_walk(root, write):
    write({"a/x": "", "b/y": ""})
    (root / "a/to_b").symlink_to(root / "b")
    (root / "b/to_a").symlink_to(root / "a")
    (root / "a/up").symlink_to(root)
    assert paths(take_snapshot(f"{root}/a")) == ["to_b/y", "x"]


def test_a_link_that_leads_nowhere_counts(root, write):
    write({"m/a": ""})
    (root / "m/b").symlink_to(root / "nowhere")
    snapshot = take_snapshot(f"{root}/m")
    assert paths(snapshot) == ["a", "b"]
    assert snapshot.unreadable == ()


def test_pipes_are_not_files(root, write):
    write({"m/a": ""})
    os.mkfifo(root / "m/pipe")
    assert paths(take_snapshot(f"{root}/m")) == ["a"]


def test_an_unreadable_entry_is_named_and_the_rest_is_seen(root, write):
    write({"m/a": ""})
    (root / "m/loop").symlink_to(root / "m/loop")
    snapshot = take_snapshot(f"{root}/m")
    assert paths(snapshot) == ["a"]
    assert [entry.path for entry in snapshot.unreadable] == ["loop"]
    assert f"{root}/m/loop" in snapshot.unreadable[0].message


def test_a_directory_that_is_not_there_is_empty(root):
    snapshot = take_snapshot(f"{root}/nothing")
    assert snapshot.files == ()
    assert snapshot.unreadable == ()


def test_part_of_a_snapshot_equals_the_snapshot_of_the_part(root, write):
    write({"m/a/1/x": "1", "m/a/b/y": "2", "m/c": "3", "m/ab/z": "4"})
    (root / "m/a/loop").symlink_to(root / "m/a/loop")
    assert take_snapshot(f"{root}/m").under("a") == take_snapshot(f"{root}/m/a")


def test_part_of_a_snapshot_leaves_out_other_folders(root, write):
    write({"m/a/x": "1", "m/b/y": "2", "m/c": "3"})
    part = take_snapshot(f"{root}/m").under("", without=frozenset({"a"}))
    assert paths(part) == ["b/y", "c"]
    assert part.directories == ("b",)
    assert Path(part.directory) == root / "m"
