"""Memory allocators for workers: which shared library replaces `malloc`, and where it lies."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from mpserve.errors import LoadError
from mpserve.settings import Allocator


class AllocatorLibrary(msgspec.Struct, frozen=True, kw_only=True):
    """One library.

    Attributes
    ----------
    file_names
        In the order of preference.
    packages
        Debian packages that hold the first of them: of older and of newer releases.
    """

    file_names: tuple[str, ...]
    packages: tuple[str, ...]


LIBRARIES: Final = {
    Allocator.TCMALLOC: AllocatorLibrary(
        # The minimal one has no profiler, which would take its own signals.
        file_names=("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"),
        packages=("libtcmalloc-minimal4", "libtcmalloc-minimal4t64"),
    ),
    Allocator.JEMALLOC: AllocatorLibrary(
        file_names=("libjemalloc.so.2",),
        packages=("libjemalloc2",),
    ),
}
"""`MALLOC` has no row: it is the C library's own."""


def library_directories() -> tuple[str, ...]:
    """Return where Linux distributions keep shared libraries, on this machine's architecture."""
    multiarch = f"{platform.machine()}-linux-gnu"
    return (
        f"/usr/lib/{multiarch}",
        f"/lib/{multiarch}",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
    )


def find_allocator(allocator: Allocator, *, directories: Sequence[str] | None = None) -> str:
    """Return the path of an allocator's library; "" for `malloc`.

    Raises
    ------
    LoadError
        It is not installed; the message says which package holds it.
    """
    library = LIBRARIES.get(allocator)
    if library is None:
        return ""
    places = library_directories() if directories is None else directories
    for name in library.file_names:
        for place in places:
            path = Path(place, name)
            if path.is_file():
                return str(path)
    newer = "".join(f", {package} on newer releases" for package in library.packages[1:])
    raise LoadError(
        f"allocator '{allocator.value}': {library.file_names[0]} is not installed in any of "
        f"{', '.join(places)}; on Debian and Ubuntu it is in the package "
        f"{library.packages[0]}{newer}"
    )


def allocator_of(word: str) -> Allocator:
    """Return the allocator that a model asks for.

    Raises
    ------
    LoadError
        There is none of that name.
    """
    try:
        return Allocator(word.strip().lower())
    except ValueError:
        words = ", ".join(one.value for one in Allocator)
        raise LoadError(f"unknown allocator '{word}', use one of {words}") from None
