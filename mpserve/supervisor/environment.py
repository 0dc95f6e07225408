"""Python environments of models: a folder, or a conda-pack archive that is unpacked once.

Guarantees
    An archive is unpacked by one process, whoever asks at the same time, and appears in one step;
    a changed archive is another environment.
Assumes
    Blocks as long as unpacking takes: called in the process that will become the worker.
Owner
    What was unpacked stays for the next start; it may be removed while no server runs.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from mpserve.errors import LoadError

ACTIVATION: Final = "bin/activate"
UNPACK_TOOL: Final = "bin/conda-unpack"
UNPACK_SECONDS: Final = 300.0  # it rewrites the prefixes in all files
_PRIVATE: Final = 0o700


def default_directory(uid: int) -> str:
    """Return where a user's archives are unpacked unless `--environments-dir` says otherwise."""
    return str(Path(tempfile.gettempdir(), f"mpserve-environments-{uid}"))


def prepare_environment(place: str, *, directory: str, is_activated: bool) -> Path:
    """Return the folder of an environment that is ready to run.

    Parameters
    ----------
    place
        Absolute path of a folder, or of an archive (`.tar.gz` and other forms of tar).
    directory
        Where archives are unpacked; made when it is not there.
    is_activated
        Triton activates it, so it has the script for that; ours only sets what that would set.

    Raises
    ------
    LoadError
        Nothing usable is there, or its Python is of another version than this one.
    """
    path = Path(place)
    if path.is_dir():
        return _checked(path, place, is_activated=is_activated)
    if not path.is_file():
        raise LoadError(f"environment '{place}': there is no such folder or archive")
    try:
        unpacked = _unpacked(path, directory=Path(directory))
        return _checked(unpacked, place, is_activated=is_activated)
    except (OSError, tarfile.TarError) as error:
        raise LoadError(f"environment '{place}' can not be unpacked: {error}") from error


def interpreter_of(environment: Path) -> Path:
    """Return the Python of an environment."""
    return environment / "bin" / "python"


def _checked(environment: Path, place: str, *, is_activated: bool) -> Path:
    """Mpserve's core is loaded into that Python, so it must be of the same version."""
    script = environment / ACTIVATION
    if is_activated and not script.exists():
        raise LoadError(
            f"Path {script} does not exist. The Python environment should contain an 'activate' "
            "script."
        )
    if not interpreter_of(environment).exists():
        raise LoadError(f"environment '{place}' has no bin/python")
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = sorted(one.name for one in (environment / "lib").glob("python3.*") if one.is_dir())
    if libraries and wanted not in libraries:
        raise LoadError(
            f"environment '{place}' has {', '.join(libraries)}; this server runs on {wanted} and "
            "its workers must too"
        )
    return environment


def _unpacked(archive: Path, *, directory: Path) -> Path:
    directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise LoadError(f"'{directory}' belongs to another user; use --environments-dir")
    target = directory / _digest(archive)
    with (directory / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first unpacks, the others wait for it
        if not target.is_dir():
            _unpack(archive, target)
    return target


def _digest(archive: Path) -> str:
    status = archive.stat()
    words = f"{archive.resolve()}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


def _unpack(archive: Path, target: Path) -> None:
    half = target.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(half, filter="tar")
        # The tool writes the folder's final name into files, so it runs after the move.
        half.rename(target)
        _fix_prefixes(target)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        raise


def _fix_prefixes(environment: Path) -> None:
    tool = environment / UNPACK_TOOL
    if not tool.is_file():
        return
    try:
        subprocess.run(  # noqa: S603  # the operator's own environment
            [interpreter_of(environment), tool],
            check=True,
            capture_output=True,
            timeout=UNPACK_SECONDS,
        )
    except subprocess.SubprocessError as error:
        raise LoadError(f"{UNPACK_TOOL} failed: {error}") from error
