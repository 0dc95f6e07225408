import pytest

from mpserve.repository.layout import is_ignored_file, version_names


@pytest.mark.parametrize(
    "name",
    [
        "model.py~",
        "#model.py#",
        ".#model.py",
        ".model.py.swp",
        ".config.pbtxt.swx",
        "4913",
        ".goutputstream-ABC123",
        "model.py___jb_tmp___",
        "config.pbtxt.tmp",
        ".DS_Store",
        ".nfs0001",
    ],
)
def test_files_of_editors_never_count(name):
    assert is_ignored_file(name)


@pytest.mark.parametrize("name", ["model.py", "swp", "labels.txt", ".env", "49130", "tmp", "a#b"])
def test_files_of_a_model_count(name):
    assert not is_ignored_file(name)


def test_versions_are_sorted_by_number():
    assert version_names(["10", "9", "0", "1"]).versions == (0, 1, 9, 10)


@pytest.mark.parametrize("name", ["warmup", "initial_state", "configs"])
def test_reserved_directories_are_skipped_without_a_warning(name):
    found = version_names([name, "1"])
    assert found.versions == (1,)
    assert found.notes == ()


def test_leading_zeros_are_ignored_with_a_warning():
    found = version_names(["003", "1"])
    assert found.versions == (1,)
    assert found.notes == (
        "ignore version directory '003' which contains leading zeros in its directory name",
    )


@pytest.mark.parametrize("name", ["abc", "1_old", "-1", "٣", "99999999999999999999"])
def test_other_names_are_no_version_and_warned_of(name):
    found = version_names([name])
    assert found.versions == ()
    assert found.notes == (
        f"ignore version directory '{name}' which fails to convert to integral number",
    )
