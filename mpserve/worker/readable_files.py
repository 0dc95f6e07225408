"""Whether a worker that is another user may read its model's files."""

import errno
import os

from mpserve.errors import LoadError


def require_readable(directory: str, *, user: str) -> None:
    """Look at everything below a version's directory.

    Raises
    ------
    LoadError
        Names the first file that the user may not read.
    """
    for path in _places(directory):
        wanted = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK  # noqa: PTH112  beside `os.walk`
        if not os.access(path, wanted):
            raise LoadError(
                f"{path}: {os.strerror(errno.EACCES)}: models run as user '{user}' "
                "(--worker-user), who must be able to read it"
            )


def _places(directory: str) -> list[str]:
    """Return the directory and all below it, as far as it can be listed."""
    places = [directory]
    for folder, folders, files in os.walk(directory):
        places += [os.path.join(folder, name) for name in (*folders, *files)]  # noqa: PTH118  as above
    return places
