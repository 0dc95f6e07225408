"""Workers as another user: a child of root gives up what it does not need.

Guarantees
    After `become` the process has the user's rights and no way back: no capabilities, no other
    groups, and no new rights by programs that it executes. It can not signal or trace processes of
    the server but other workers. A forked worker has a copy of the server's memory, so it is not
    dumpable: other processes of the same user can not read it.
Source: `credentials(7)`, `prctl(2)`, `ptrace(2)`.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from typing import Final

from mpserve.errors import ConfigError
from mpserve.settings.worker_user import WorkerUser

_PR_SET_NO_NEW_PRIVS: Final = 38  # linux/prctl.h
_STDERR_FD: Final = 2
_UNREADABLE: Final = 1
_REFUSED: Final = 2


def become(user: WorkerUser, *, closes: Iterable[int] = ()) -> None:
    """Let this process run as `user` from now on.

    Parameters
    ----------
    closes
        Descriptors that are none of its business.

    Raises
    ------
    OSError
        The system refused.
    """
    for fd in closes:
        os.close(fd)
    if stat.S_ISFIFO(os.fstat(_STDERR_FD).st_mode):  # opened again for the next supervisor
        os.fchown(_STDERR_FD, user.uid, user.gid)
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)


def require_usable(user: WorkerUser, folders: Iterable[str]) -> None:
    """Find out at the start whether workers can run as `user`.

    Parameters
    ----------
    folders
        Where workers import from.

    Raises
    ------
    ConfigError
        We are not root, the system refuses, or the user may not read a folder.
    """
    if os.geteuid() != 0:
        raise ConfigError(
            f"--worker-user={user.name}: only root can start workers as another user; start the "
            "server as root, or without it"
        )
    for folder in folders:
        outcome = _tried(user, folder)
        if outcome == _UNREADABLE:
            raise ConfigError(
                f"--worker-user={user.name}: that user can not read '{folder}', which workers "
                "import from; install mpserve where everybody can read it"
            )
        if outcome != 0:  # also one that was killed: nobody knows what it would have found
            raise ConfigError(
                f"--worker-user={user.name}: the system does not let us become that user; the "
                "server needs the capabilities CAP_SETUID, CAP_SETGID and CAP_CHOWN"
            )


def _tried(user: WorkerUser, folder: str) -> int:
    """Return what a child that becomes `user` finds: 0 when it can read the folder."""
    pid = os.fork()
    if pid == 0:
        code = _REFUSED
        try:
            become(user)
            code = 0 if os.access(folder, os.R_OK | os.X_OK) else _UNREADABLE
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
