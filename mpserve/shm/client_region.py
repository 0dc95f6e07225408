"""Names of the shared memory that clients register, and careful copies from and to it.

A registration makes a hard link to the client's file under a name of the server's own. So the
memory of a registration stays the same also when the client removes or replaces its file, every
process finds it by the registration's id, and the sweep of a killed server removes the link.

Guarantees
    No link leads out of `/dev/shm`, to what is no plain file, or to a segment of mpserve.
    Copies by `read` and `write` never raise SIGBUS: they are system calls.
Source: linux `link(2)`, `shm_open(3)`.
"""

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from typing import Final

from mpserve._native import RegionHold, RegionTable
from mpserve.errors import InternalError, InvalidRequest
from mpserve.model.region import ClientRegion, RegionId, RegionPiece
from mpserve.model.request import Bytes
from mpserve.shm.segment import DIRECTORY, PREFIX, unlink

__all__ = [
    "RegionHold",
    "RegionTable",
    "link",
    "read",
    "region_prefix",
    "remove",
    "remove_all_but",
    "write",
]

_KIND: Final = "region."
_KEY: Final = re.compile(r"/?([^/\0]{1,255})")
_RESERVED: Final = (PREFIX, "triton_python_backend_shm_region_")
_GONE: Final = (
    "a shared memory region of the request is gone, or has become smaller than it was registered; "
    "register it again"
)


def region_prefix(server_id: str) -> str:
    """Return the path of a registration's link without its id."""
    return f"{DIRECTORY}/{PREFIX}{server_id}-{_KIND}"


def link(server_id: str, region: ClientRegion) -> None:
    """Make the link of a registration.

    Raises
    ------
    InvalidRequest
        The key can not be one, the memory may never be registered, or it is too short.
    InternalError
        There is no such memory, or this server may not read and write it.
    """
    match = _KEY.fullmatch(region.key)
    if match is None or match[1] in {".", ".."}:
        raise InvalidRequest(
            f"cannot register shared memory region '{region.name}' - invalid shm key '{region.key}'"
        )
    for prefix in _RESERVED:
        if match[1].startswith(prefix):
            raise _reserved(region, prefix)
    path = f"{region_prefix(server_id)}{region.id}"
    try:
        os.link(f"{DIRECTORY}/{match[1]}", path, follow_symlinks=False)
    except (OSError, ValueError) as error:
        raise _unreadable(region) from error
    try:
        _check(path, region)
    except BaseException:
        remove(server_id, region.id)
        raise


def _check(path: str, region: ClientRegion) -> None:
    """Look at the link, which nobody else changes, and not at the client's name."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _unreadable(region) from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(region)
    if found.st_ino in _own_inodes():
        raise _reserved(region, PREFIX)
    if not region.byte_size or region.offset + region.byte_size > found.st_size:
        raise InvalidRequest(
            f"failed to register shared memory region '{region.name}': invalid args"
        )


def _reserved(region: ClientRegion, prefix: str) -> InvalidRequest:
    return InvalidRequest(
        f"cannot register shared memory region '{region.name}' with key '{region.key}' as the key "
        f"contains the reserved prefix '{prefix}'"
    )


def _unreadable(region: ClientRegion) -> InternalError:
    return InternalError(f"Unable to open shared memory region: '{region.key}'")


def _own_inodes() -> set[int]:
    """Return the segments of all servers: a client may have linked one under another name."""
    with os.scandir(DIRECTORY) as entries:
        return {
            entry.inode()
            for entry in entries
            if entry.name.startswith(PREFIX) and f"-{_KIND}" not in entry.name
        }


def remove(server_id: str, region_id: RegionId) -> None:
    """Remove the link of a registration; who has it mapped keeps the memory."""
    unlink(f"{PREFIX}{server_id}-{_KIND}{region_id}")


def remove_all_but(server_id: str, kept: Collection[RegionId]) -> None:
    """Remove the links of all registrations but these: a killed supervisor may have left one."""
    prefix = f"{PREFIX}{server_id}-{_KIND}"
    with os.scandir(DIRECTORY) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        if name.removeprefix(prefix) not in {str(one) for one in kept}:
            unlink(name)


def read(server_id: str, piece: RegionPiece) -> Bytes:
    """Return a copy of a piece.

    Raises
    ------
    InvalidRequest
        The memory is gone or too short.
    """
    copied = bytearray(piece.byte_size)
    with _opened(server_id, piece) as descriptor:
        done = 0
        while done < piece.byte_size:
            count = os.preadv(descriptor, [memoryview(copied)[done:]], piece.offset + done)
            if count == 0:
                raise InvalidRequest(_GONE)
            done += count
    return copied


def write(server_id: str, piece: RegionPiece, content: Bytes) -> None:
    """Copy `content`, which the piece has room for, to the beginning of it.

    Raises
    ------
    InvalidRequest
        The memory is gone or too short.
    InternalError
        `/dev/shm` has no room for it.
    """
    with _opened(server_id, piece) as descriptor:
        view, done = memoryview(content), 0
        while done < len(view):
            try:
                done += os.pwrite(descriptor, view[done:], piece.offset + done)
            except OSError as error:
                raise InternalError(
                    f"an output can not be written into the client's shared memory: {error}"
                ) from error


@contextlib.contextmanager
def _opened(server_id: str, piece: RegionPiece) -> Iterator[int]:
    path = f"{region_prefix(server_id)}{piece.id}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise InvalidRequest(_GONE) from error
    try:
        if os.fstat(descriptor).st_size < piece.offset + piece.byte_size:
            raise InvalidRequest(_GONE)
        yield descriptor
    finally:
        os.close(descriptor)
