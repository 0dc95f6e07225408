"""Where an allocator's library is, or which package would bring it."""

import pytest

from mpserve.errors import LoadError
from mpserve.settings import Allocator
from mpserve.supervisor.allocator import allocator_of, find_allocator


def test_the_c_library_needs_no_file():
    assert find_allocator(Allocator.MALLOC, directories=[]) == ""


def test_the_first_file_by_name_then_by_place_is_taken(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
    (one / "libtcmalloc.so.4").touch()
    (other / "libtcmalloc_minimal.so.4").touch()
    found = find_allocator(Allocator.TCMALLOC, directories=[str(one), str(other)])
    assert found == str(other / "libtcmalloc_minimal.so.4")


@pytest.mark.parametrize(
    ("allocator", "package"),
    [(Allocator.TCMALLOC, "libtcmalloc-minimal4"), (Allocator.JEMALLOC, "libjemalloc2")],
)
def test_what_is_not_installed_is_told_with_its_package(tmp_path, allocator, package):
    with pytest.raises(LoadError, match=f"in the package {package}"):
        find_allocator(allocator, directories=[str(tmp_path)])


def test_a_model_names_an_allocator_in_any_case():
    assert allocator_of(" JEmalloc ") is Allocator.JEMALLOC


def test_an_unknown_allocator_is_told_with_the_known_ones():
    with pytest.raises(LoadError, match="'mimalloc', use one of malloc, tcmalloc, jemalloc"):
        allocator_of("mimalloc")
