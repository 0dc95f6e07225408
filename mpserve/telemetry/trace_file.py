"""Traces as JSON files, in Triton's format: one array of records, whoever writes them.

Guarantees
    A file is valid JSON whenever no process writes into it: the closing bracket is written with
    each trace, over the one before. Processes take turns by a lock on the file, which the kernel
    releases when its owner dies. A file that holds anything else than traces stays as it is.
"""

import errno
import fcntl
import glob
import os
import re
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


def file_of(path: str, *, ticket: int, log_frequency: int) -> str:
    """Return the file of a trace: of so many traces each, when there is a frequency."""
    return f"{path}.{ticket // log_frequency}" if log_frequency else path


def is_foreign(path: str) -> bool:
    """Tell whether there is a file of somebody's own under this name; raises `OSError`."""
    place = Path(path)
    if not place.is_file():
        return False
    begin = _begin_of(place)
    return begin != b"" and not _BEGIN.match(begin)


def clear(path: str) -> None:
    """Begin a file anew, and remove the parts of an earlier one; raises `OSError`."""
    if is_foreign(path):
        raise FileExistsError(errno.EEXIST, _FOREIGN, path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE))
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
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        log.warning("trace.unwritable", file=path, reason=error.strerror or str(error))
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = os.fstat(file).st_size
        if end == 0:
            os.pwrite(file, b"[" + text + b"]", 0)
        elif not _BEGIN.match(os.pread(file, _BEGIN_BYTES, 0)):
            log.warning("trace.unwritable", file=path, reason=_FOREIGN)
        else:
            os.pwrite(file, b"," + text + b"]", end - 1)
    except OSError as error:
        log.warning("trace.unwritable", file=path, reason=error.strerror or str(error))
    finally:
        os.close(file)
