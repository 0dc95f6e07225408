"""Model files of a load call, written into a private directory.

Guarantees: nothing is written outside the directory, which is new, mode 0700 and without links; on
an error nothing of it is left.
Source: Triton's `file:` parameters and their messages.
"""

import os
import posixpath
from pathlib import Path
from typing import Final

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.repository.found import Override
from mpserve.repository.temporary import new_directory, remove_directory

DIRECTORY_PREFIX: Final = "mpserve-model-"
MAX_DEPTH: Final = 64  # folders of a path: far more than a model has, far less than recursion bears
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def materialise(override: Override, *, parent: str) -> str:
    """Write the files of an override into a new directory and return its absolute path.

    Parameters
    ----------
    parent
        Existing directory that takes the new one; "" for the system's temporary directory.

    Raises
    ------
    InvalidRequest
        When the configuration is missing, or a path leaves the directory or contradicts another.
    RepositoryError
        When the disk refuses.
    """
    if not override.config:
        raise InvalidRequest("Load parameter 'config' must be specified for model file override")
    directory = _new_directory(parent)
    try:
        for path, content in override.files.items():
            _write(directory, path, content)
    except BaseException:
        discard(directory)
        raise
    return directory


def discard(directory: str) -> None:
    """Remove a materialised directory; one that is gone already is fine."""
    remove_directory(directory)


def _new_directory(parent: str) -> str:
    try:
        return new_directory(DIRECTORY_PREFIX, parent=parent)
    except OSError as error:
        raise RepositoryError(
            f"failed to create a directory for model files: {error.strerror}"
        ) from error


def _write(directory: str, path: str, content: bytes) -> None:
    target = posixpath.normpath(posixpath.join(directory, path))
    if not target.startswith(f"{directory}/") or "\0" in path:
        raise InvalidRequest(
            f"Invalid file parameter 'file:{path}' with normalized path '{target}' must stay "
            "within model directory."
        )
    if (depth := target.count("/") - directory.count("/")) > MAX_DEPTH:
        raise InvalidRequest(
            f"Invalid file parameter 'file:{path[:64]}...': {depth} folders deep, at most "
            f"{MAX_DEPTH} are supported"
        )
    try:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, _NEW_FILE, 0o600)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidRequest(_contradiction(path, target)) from error
    except OSError as error:
        raise RepositoryError(f"failed to write file '{path}': {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _contradiction(path: str, target: str) -> str:
    """Say why a file can not be made where another parameter has been."""
    start = f"Invalid file parameter 'file:{path}', "
    if Path(target).is_dir():
        return f"{start}file has been created as a directory"
    if Path(target).exists():
        return f"{start}file has been created by another parameter"
    return f"{start}directory has been created as a file"
