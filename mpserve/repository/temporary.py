"""Directories of the server's own in the temporary directory.

Guarantees: mode 0700, names that nobody can guess.

`shutil` and `tempfile` are imported when there is something to do: with what they import they are a
fiftieth of a cold start, and most servers never get files in a load call.
"""

import os


def new_directory(prefix: str, *, parent: str) -> str:
    """Make a directory in `parent`, "" for the system's own place; return its absolute path.

    Raises
    ------
    OSError
        The disk refuses.
    """
    import tempfile  # noqa: PLC0415  # see above

    return os.path.realpath(tempfile.mkdtemp(prefix=prefix, dir=parent or None))


def remove_directory(path: str) -> None:
    """Remove a directory and all that is in it, as far as possible; it may be gone already."""
    import shutil  # noqa: PLC0415  # see above

    shutil.rmtree(path, ignore_errors=True)


def system_directory() -> str:
    """Return the system's own place; raises `OSError` when there is none."""
    import tempfile  # noqa: PLC0415  # see above

    return tempfile.gettempdir()
