"""Snapshot: what a directory tree looked like at one moment, by the stamps of its files.

Files may come and go while the tree is walked: what vanished is not in the snapshot. What can not
be read is named in it, so that it concerns this tree alone.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from mpserve.repository.layout import IGNORED_DIRECTORIES, is_ignored_file

MAX_DEPTH: Final = 64  # deeper is no model; ends walks through what mounts may loop


class FileStamp(msgspec.Struct, frozen=True, kw_only=True, order=True, gc=False):
    """One file; the values are those of a symbolic link's target.

    Attributes
    ----------
    path
        Relative to the snapshot's directory, with `/`.
    inode
        0 for a link that leads nowhere.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int


class Unreadable(msgspec.Struct, frozen=True, kw_only=True, order=True, gc=False):
    """An entry that could not be looked at; `path` is relative to the snapshot's directory."""

    path: str
    message: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A directory tree at one moment. Equal snapshots mean: nothing changed.

    Attributes
    ----------
    directory
        Absolute path.
    files
        Sorted by path. Files of editors and tools never count (`mpserve.repository.layout`).
    directories
        Relative paths, sorted. Their times do not count.
    unreadable
        Entries that can not be looked at.
    """

    directory: str
    files: tuple[FileStamp, ...]
    directories: tuple[str, ...]
    unreadable: tuple[Unreadable, ...] = ()

    def has_file(self, path: str) -> bool:
        """Tell whether a file of this relative path was there."""
        return any(stamp.path == path for stamp in self.files)

    def child_directories(self) -> tuple[str, ...]:
        """Return the names of the direct sub-directories."""
        return tuple(path for path in self.directories if "/" not in path)

    def under(self, folder: str, *, without: frozenset[str] = frozenset()) -> "Snapshot":
        """Return the part below `folder` ("" for all), leaving out the folders `without` in it.

        Parameters
        ----------
        folder
            Relative path of a directory of this snapshot.
        without
            Relative paths (to this snapshot) of directories that are not part of it.
        """
        start = f"{folder}/" if folder else ""
        skipped = tuple(f"{path}/" for path in sorted(without) if path.startswith(start))
        return Snapshot(
            directory=f"{self.directory}/{folder}" if folder else self.directory,
            files=tuple(
                FileStamp(
                    path=stamp.path[len(start) :],
                    size_bytes=stamp.size_bytes,
                    mtime_ns=stamp.mtime_ns,
                    inode=stamp.inode,
                )
                for stamp in self.files
                if stamp.path.startswith(start) and not stamp.path.startswith(skipped)
            ),
            directories=tuple(
                path[len(start) :]
                for path in self.directories
                if path.startswith(start) and not f"{path}/".startswith(skipped)
            ),
            unreadable=tuple(
                Unreadable(path=entry.path[len(start) :], message=entry.message)
                for entry in self.unreadable
                if f"{entry.path}/".startswith(start) and not f"{entry.path}/".startswith(skipped)
            ),
        )


def stamp_file(path: str, *, name: str) -> FileStamp | None:
    """Return the stamp of the file at `path` under the name `name`; `None` when there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return _stamp(name, status) if stat.S_ISREG(status.st_mode) else None


def take_snapshot(directory: str) -> Snapshot:
    """Walk the tree below `directory`, symbolic links followed.

    A `directory` that can not be listed gives a snapshot with its message in `unreadable`.
    """
    walk = _Walk(directory)
    walk.visit("", (os.path.realpath(directory),), 0)
    return Snapshot(
        directory=directory,
        files=tuple(sorted(walk.files)),
        directories=tuple(sorted(walk.directories)),
        unreadable=tuple(sorted(walk.unreadable)),
    )


class _Walk:
    """One walk of a tree."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.files: list[FileStamp] = []
        self.directories: list[str] = []
        self.unreadable: list[Unreadable] = []

    def visit(self, folder: str, origins: tuple[str, ...], depth: int) -> None:
        """Walk one folder. `origins` are the real paths that links led to on the way here."""
        path = f"{self.directory}/{folder}" if folder else self.directory
        try:
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError as error:
            self._refuse(folder, error)
            return
        for entry in listed:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                self._enter(entry, name, origins, depth)
            except OSError as error:
                self._refuse(name, error)

    def _enter(
        self, entry: "os.DirEntry[str]", name: str, origins: tuple[str, ...], depth: int
    ) -> None:
        if entry.is_dir():
            if entry.name in IGNORED_DIRECTORIES or depth >= MAX_DEPTH:
                return
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if _leads_back(target, origins):
                    return
                origins = (*origins, target)
            self.directories.append(name)
            self.visit(name, origins, depth + 1)
        elif not is_ignored_file(entry.name):
            self._add_file(entry, name)

    def _add_file(self, entry: "os.DirEntry[str]", name: str) -> None:
        try:
            status = entry.stat()
        except FileNotFoundError:
            if entry.is_symlink():  # it leads nowhere; that it is there still counts
                self.files.append(FileStamp(path=name, size_bytes=0, mtime_ns=0, inode=0))
            return
        if stat.S_ISREG(status.st_mode):
            self.files.append(_stamp(name, status))

    def _refuse(self, name: str, error: OSError) -> None:
        if error.errno == errno.ENOENT:  # vanished since it was listed
            return
        path = f"{self.directory}/{name}" if name else self.directory
        self.unreadable.append(
            Unreadable(path=name, message=f"failed to read {path}: {error.strerror}")
        )


def _stamp(name: str, status: os.stat_result) -> FileStamp:
    return FileStamp(
        path=name,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
    )


def _leads_back(target: str, origins: tuple[str, ...]) -> bool:
    """Tell whether a link to `target` would be walked without end."""
    return any(origin == target or origin.startswith(f"{target}/") for origin in origins)
