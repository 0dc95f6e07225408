"""The Unix-domain socket of the frontends, which cannot share a path as they share a port.

Guarantees
    One socket, bound before any child is started and inherited by all; a frontend that is started
    again takes it again. Nobody can connect before the first frontend listens. Its file belongs to
    the server: it has its mode from the first moment, and is removed at the end.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mpserve.errors import ConfigError
from mpserve.settings.unix_address import PREFIX

NO_SOCKET = -1


@contextmanager
def bound_socket(path: str | None, *, mode: int, service: str) -> Iterator[int]:
    """Hold the descriptor of a bound socket, `NO_SOCKET` when no path is given.

    Parameters
    ----------
    mode
        Permissions of the file.
    service
        What it is for, as the error names it.

    Raises
    ------
    ConfigError
        The path can not be used, or someone listens there; the message is the line to print.
    """
    if path is None:
        yield NO_SOCKET
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        try:
            _remove_stale(path)
            _bind(bound, path, mode)
        except ConfigError as error:
            line = f"failed to start {service} service: Unavailable - {error.message}"
            raise ConfigError(line) from error
        identity = _identity(path)
        try:
            yield bound.fileno()
        finally:
            with suppress(OSError):
                if _identity(path) == identity:  # not one that another server made meanwhile
                    Path(path).unlink()


def _bind(bound: socket.socket, path: str, mode: int) -> None:
    mask = os.umask(0o777 & ~mode)
    try:
        bound.bind(path)
    except OSError as error:  # also for a path that is too long
        reason = error.strerror or str(error)
        raise ConfigError(f"Socket '{PREFIX}{path}' can not be opened: {reason}") from error
    finally:
        os.umask(mask)


def _remove_stale(path: str) -> None:
    """Remove what a killed server left; refuse what belongs to anyone else."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise ConfigError(f"Socket '{PREFIX}{path}' can not be opened: there is another file")
    except OSError:
        return  # no such file; other reasons are told when it is bound
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise ConfigError(
                    f"Socket '{PREFIX}{path}' can not be opened: {error.strerror}"
                ) from error
        else:
            raise ConfigError(f"Socket '{PREFIX}{path}' already in use ")


def _identity(path: str) -> tuple[int, int]:
    found = Path(path).lstat()
    return found.st_dev, found.st_ino
