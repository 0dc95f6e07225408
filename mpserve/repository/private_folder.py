"""A folder of one server in the system's temporary directory, for the files of load calls.

Guarantees
    Mode 0700, a name that nobody can guess, and a lock that the kernel drops with the server: a
    folder that is not locked was left by a server that was killed, and the next start removes it.
    The lock holds across process namespaces that share the temporary directory.
Owner
    The supervisor; the lock is not inherited.
"""

import fcntl
import os
import stat
from typing import Final, Self

from mpserve.errors import RepositoryError
from mpserve.repository.temporary import new_directory, remove_directory, system_directory

FOLDER_PREFIX: Final = "mpserve-models-"
_DIRECTORY_ONLY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PrivateFolder:
    """A folder that is there until `close`."""

    def __init__(self, path: str, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def create(cls, parent: str = "") -> Self:
        """Make a folder in `parent`, "" for the system's temporary directory.

        Raises
        ------
        RepositoryError
            The disk refuses.
        """
        try:
            while True:
                path = new_directory(FOLDER_PREFIX, parent=parent)
                lock_fd = _locked(path)
                if lock_fd is not None:  # else the start of another server came between
                    return cls(path, lock_fd)
        except OSError as error:
            raise RepositoryError(
                f"failed to create a directory for model files: {error.strerror}"
            ) from error

    @classmethod
    def adopted(cls, path: str) -> Self | None:
        """Return the folder of an earlier supervisor; `None` when it is gone."""
        try:
            lock_fd = _locked(path)
        except OSError:
            return None
        return cls(path, lock_fd) if lock_fd is not None else None

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        remove_directory(self.path)
        os.close(self._lock_fd)


def share_folder(path: str, group: int) -> None:
    """Let a group read a folder and all that is in it."""
    for folder, _, files in os.walk(path):
        for name in ("", *files):
            place = os.path.join(folder, name)  # noqa: PTH118  beside `os.walk`
            os.chown(place, -1, group, follow_symlinks=False)
            os.chmod(place, 0o640 if name else 0o750)  # noqa: PTH101  as above


def sweep_private_folders(parent: str = "") -> int:
    """Remove the folders that killed servers of this user have left; return how many."""
    removed = 0
    try:
        with os.scandir(parent or system_directory()) as entries:
            found = [one.path for one in entries if one.name.startswith(FOLDER_PREFIX)]
    except OSError:
        return 0  # no temporary directory, so nothing was left in it
    for path in found:
        try:
            lock_fd = _locked(path)
        except OSError:
            continue  # of another user, or no directory
        if lock_fd is not None:
            remove_directory(path)
            os.close(lock_fd)
            removed += 1
    return removed


def _locked(path: str) -> int | None:
    """Return the locked folder; `None` when somebody else holds it or has removed it."""
    descriptor = os.open(path, _DIRECTORY_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    held = os.fstat(descriptor)
    if held.st_uid == os.getuid() and _is_named(path, held):
        return descriptor
    os.close(descriptor)
    return None


def _is_named(path: str, held: os.stat_result) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)  # noqa: PTH116  # beside `os.fstat`
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(named.st_mode) and named.st_ino == held.st_ino
