"""Traces as JSON files, in Triton's format: one array of records, whoever writes them.

Guarantees
    A file is valid JSON whenever no process writes into it: the closing bracket is written with
    each trace, over the one before. Processes take turns by a lock on the file, which the kernel
    releases when its owner dies.
"""

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson

from mpserve.telemetry import log

Record = Mapping[str, object]
_MODE: Final = 0o640
_BEGIN: Final = b'[{"id":'  # as Triton writes it, too


def file_of(path: str, *, ticket: int, log_frequency: int) -> str:
    """Return the file of a trace: of so many traces each, when there is a frequency."""
    return f"{path}.{ticket // log_frequency}" if log_frequency else path


def clear(path: str) -> None:
    """Begin a file anew, and remove the parts of an earlier one; raises `OSError`."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE))
    place = Path(path)
    for old in place.parent.glob(f"{place.name}.*"):
        if old.suffix[1:].isdecimal() and _is_trace(old):
            old.unlink()


def _is_trace(path: Path) -> bool:
    """Tell whether a file is one of ours: somebody may keep his own under such a name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_BEGIN)) in {_BEGIN, b""}


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
        if end < len(b"[]"):
            os.pwrite(file, b"[" + text + b"]", 0)
        else:
            os.pwrite(file, b"," + text + b"]", end - 1)
    except OSError as error:
        log.warning("trace.unwritable", file=path, reason=error.strerror or str(error))
    finally:
        os.close(file)
