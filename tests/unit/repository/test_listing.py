"""The names of all models, as cheaply as they can be had."""

import shutil

import pytest

from mpserve.repository import ScanOptions, list_models

SETTINGS = '{"name": "%s", "implementation": "a.B"}'


@pytest.fixture
def list_root(root):
    def list_it(before=None):
        folders = before.folders if before is not None else {}
        return list_models([str(root)], folders, ScanOptions())

    return list_it


def test_models_of_both_formats_are_listed_by_name(write, list_root):
    write(
        {
            "b/config.pbtxt": "",
            "a/1/model.py": "",
            "folder/model-settings.json": SETTINGS % "named",
            "README.md": "no model",
        }
    )
    assert list_root().names == ("a", "b", "named")


def test_what_comes_and_goes_is_seen_and_so_is_another_name(write, root, list_root):
    write({"a/config.pbtxt": "", "folder/model-settings.json": SETTINGS % "before"})
    first = list_root()
    shutil.rmtree(root / "a")
    write({"b/config.pbtxt": "", "folder/model-settings.json": SETTINGS % "afterwards"})
    assert list_root(first).names == ("afterwards", "b")


def test_one_name_in_two_places_is_a_duplicate(write, list_root):
    write({"m/config.pbtxt": "", "other/model-settings.json": SETTINGS % "m"})
    listing = list_root()
    assert listing.names == ("m",)
    assert listing.duplicates == {"m"}


def test_a_root_that_can_not_be_listed_keeps_its_names(write, root, list_root):
    write({"a/config.pbtxt": ""})
    first = list_root()
    root.rename(root.with_name("hidden"))
    second = list_root(first)
    assert second.names == ("a",)
    root.with_name("hidden").rename(root)
    shutil.rmtree(root / "a")
    assert list_root(second).names == ()


def test_a_folder_with_a_configuration_is_not_read(write, list_root):
    """That is for a load to find out."""
    write({"a/config.pbtxt": "no { configuration"})
    assert list_root().names == ("a",)
