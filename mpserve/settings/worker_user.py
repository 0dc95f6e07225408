"""The user that workers run as (`--worker-user`), by name and by number."""

import grp
import pwd

import msgspec

from mpserve.errors import ConfigError

ROOT_ID = 0
_MAX_ID = 2**32 - 2  # the next one means "as it is" to the kernel


class WorkerUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user that is not root.

    Attributes
    ----------
    name
        As `HOME` and `USER` of its processes say.
    uid, gid
        Numbers of the user and of its group, which the server's shared memory belongs to.
    groups
        All groups of its processes.
    """

    name: str
    home: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def read_worker_user(text: str) -> WorkerUser | None:
    """Return the user that `<user>[:<group>]` names; `None` for "".

    Raises
    ------
    ConfigError
        There is no such user or group, or it is root.
    """
    if not text:
        return None
    name, _, group = text.partition(":")
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigError(f"--worker-user={text}: there is no user '{name}'") from error
    gid = user.pw_gid if not group else _group_id(group, text)
    if ROOT_ID in {user.pw_uid, gid}:
        raise ConfigError(f"--worker-user={text}: that is root; name a user with fewer rights")
    groups = (gid,) if group else tuple(_groups(user.pw_name, gid))
    return WorkerUser(name=user.pw_name, home=user.pw_dir, uid=user.pw_uid, gid=gid, groups=groups)


def _groups(name: str, gid: int) -> list[int]:
    """Return the groups of a user but root's."""
    return [
        one
        for one in dict.fromkeys(
            (gid, *(row.gr_gid for row in grp.getgrall() if name in row.gr_mem))
        )
        if one != ROOT_ID
    ]


def _group_id(group: str, text: str) -> int:
    try:
        number = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigError(f"--worker-user={text}: there is no group '{group}'") from error
    if number > _MAX_ID:
        raise ConfigError(f"--worker-user={text}: {number} is no group, at most {_MAX_ID} is")
    return number
