"""Traces as JSON files, in Triton's format: one array of records, whoever writes them.

Guarantees
    A file is valid JSON whenever no process writes into it: the closing bracket is written with
    each trace, over the one before, and a trace for which the disk has no room is taken back.
    Processes take turns by a lock on the file, which the kernel releases when its owner dies; who
    keeps it is not waited for long. A file that holds anything else than traces stays as it is.
"""

import errno
import fcntl
import glob
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson

from mpserve.telemetry import log

Record = Mapping[str, object]
_MODE: Final = 0o640
_BEGIN: Final = re.compile(rb'\[{"id":\d+,"(?:timestamps|model_name|activity)":')
"""As Triton's files begin, too."""
_BEGIN_BYTES: Final = 64
_FOREIGN: Final = "the file holds something else than traces"
_NO_FILE: Final = "it is no regular file"
_KEPT: Final = "another process keeps the file locked"
_TURN_SECONDS: Final = 0.05  # a thousand times what a turn takes
_TURN_LOOK_SECONDS: Final = 0.001
_KEPT_SECONDS: Final = 1.0  # a lock that was kept is not waited for again within this time

_kept_until: dict[str, float] = {}
"""Files whose lock somebody keeps, and until when their traces are lost without a wait."""


def file_of(path: str, *, ticket: int, log_frequency: int) -> str:
    """Return the file of a trace: of so many traces each, when there is a frequency."""
    return f"{path}.{ticket // log_frequency}" if log_frequency else path


def check(path: str) -> None:
    """Raise `OSError` where traces can not be added: no file, somebody's own, or not writable."""
    file = _opened(path)
    try:
        begin = os.pread(file, _BEGIN_BYTES, 0)
    finally:
        os.close(file)
    if begin and not _BEGIN.match(begin):
        raise FileExistsError(errno.EEXIST, _FOREIGN, path)


def clear(path: str) -> None:
    """Begin a file anew, and remove the parts of an earlier one; raises `OSError` as `check`."""
    check(path)
    os.truncate(path, 0)
    place = Path(path)
    for old in place.parent.glob(f"{glob.escape(place.name)}.*"):
        if old.suffix[1:].isdecimal() and old.is_file() and _BEGIN.match(_begin_of(old)):
            old.unlink()


def _begin_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGIN_BYTES)


def append(path: str, records: Iterable[Record]) -> None:
    """Add the records of a trace; a file that can not be written is told in the log."""
    text = b",".join(orjson.dumps(record) for record in records)
    if not text:
        return
    try:
        _append(path, text)
    except OSError as error:
        log.warning("trace.unwritable", file=path, reason=error.strerror or str(error))


def _append(path: str, text: bytes) -> None:
    if time.monotonic() < _kept_until.get(path, 0.0):
        raise BlockingIOError(errno.EAGAIN, _KEPT)
    file = _opened(path)
    try:
        _take_turn(file, path)
        end = os.fstat(file).st_size
        if end == 0:
            _put(file, b"[" + text + b"]", at=0)
        elif not _BEGIN.match(os.pread(file, _BEGIN_BYTES, 0)):
            raise FileExistsError(errno.EEXIST, _FOREIGN, path)
        else:
            _put(file, b"," + text + b"]", at=end - 1)
    finally:
        os.close(file)


def _opened(path: str) -> int:
    """Open without a wait for whoever is at the other end of what is no file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _MODE)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, _NO_FILE, path)


def _take_turn(file: int, path: str) -> None:
    """Lock the file; the process that has it may be stopped, or be no server at all."""
    deadline = time.monotonic() + _TURN_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if (now := time.monotonic()) > deadline:
                _kept_until[path] = now + _KEPT_SECONDS
                raise BlockingIOError(errno.EAGAIN, _KEPT) from None
            time.sleep(_TURN_LOOK_SECONDS)
        else:
            _kept_until.clear()
            return


def _put(file: int, text: bytes, *, at: int) -> None:
    """Write all of the text from there to the file's end, or leave the file as it was."""
    try:
        written = os.pwrite(file, text, at)
        if written == len(text):
            return
        fault: OSError = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        fault = error
    if at:
        os.pwrite(file, b"]", at)  # the block of that byte is the file's; of others it may be taken
        os.ftruncate(file, at + 1)
    else:
        os.ftruncate(file, 0)
    raise fault
