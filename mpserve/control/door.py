"""The door: how the processes of a server come back to it when its supervisor was replaced.

A socket pair made before any process of the server. Every child inherits the outer end; the root
process and the supervisor hold the inner one. A child whose control socket ended makes a new pair
and passes one end through the door, with its name. The inner end is closed when both root and
supervisor are gone: then ringing fails, and the child knows that it is alone.

Guarantees: a call is delivered whole or not at all, also while no supervisor lives: the next one
reads it. Nobody but the server's processes can ring: the door has no name. Who rings is known by
the kernel's word, so that a worker can not come back as another process.
"""

import asyncio
import os
import socket
import stat
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

NO_DOOR: Final = -1
STDERR_FD: Final = 2
_CALL_BYTES: Final = 512
_MAX_FDS: Final = 2
_INT_BYTES: Final = array("i").itemsize
_CREDENTIALS: Final = struct.Struct("iII")  # `struct ucred` of unix(7): pid, uid, gid


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who rings.

    Attributes
    ----------
    process_index, epoch
        Identity in the board; both 0 for the spawner, which has no place there.
    pid
        Process id.
    """

    process_index: int
    epoch: int
    pid: int


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A child that came back.

    Attributes
    ----------
    control
        The supervisor's end of its new control socket.
    stderr_fd
        Reading end of its stderr; -1 when it passed none.
    uid
        User that rang. This and the pid of `caller` are the kernel's word.
    """

    caller: Caller
    uid: int
    control: socket.socket
    stderr_fd: int


def make_door() -> tuple[socket.socket, socket.socket]:
    """Return the inner and the outer end."""
    inner, outer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inner.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return inner, outer


def ring(
    door_fd: int, caller: Caller, *, stderr_fd: int = -1, wait: bool = True
) -> socket.socket | None:
    """Pass a new control socket through the door; return our end, `None` when nobody is behind it.

    Parameters
    ----------
    stderr_fd
        Goes along; stays open here.
    wait
        Wait for room at the door.

    Raises
    ------
    BlockingIOError
        There is no room at the door, and `wait` is false.
    """
    if door_fd == NO_DOOR:
        return None
    ours, theirs = socket.socketpair()
    fds = [theirs.fileno()] if stderr_fd < 0 else [theirs.fileno(), stderr_fd]
    flags = 0 if wait else socket.MSG_DONTWAIT
    with theirs, socket.socket(fileno=os.dup(door_fd)) as door:
        try:
            # Not `socket.send_fds`, which forgets the flags (Python 3.11 to 3.13).
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))
            door.sendmsg([msgspec.msgpack.encode(caller)], [rights], flags)
        except BlockingIOError:
            ours.close()
            raise
        except OSError:
            ours.close()
            return None
    return ours


def own_stderr() -> int:
    """Return a reading end of the pipe that is our stderr, -1 when it is none.

    Held by the child itself: as long as the child lives, writing to stderr can not fail, whoever
    else has died, and what nobody has read yet goes to the next supervisor.
    """
    try:
        if not stat.S_ISFIFO(os.fstat(STDERR_FD).st_mode):
            return -1
        return os.open(f"/proc/self/fd/{STDERR_FD}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1


class Doorkeeper:
    """The inner end in the supervisor's event loop.

    Parameters
    ----------
    on_call
        Takes each child that comes back, and its descriptors.
    """

    def __init__(self, door: socket.socket, on_call: Callable[[Call], None]) -> None:
        self._door = door
        self._on_call = on_call
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(door, self._readable)

    def close(self) -> None:
        """Open to nobody any more. Idempotent."""
        self._loop.remove_reader(self._door)

    def _readable(self) -> None:
        try:
            message, ancillary, _, _ = self._door.recvmsg(
                _CALL_BYTES,
                socket.CMSG_SPACE(_MAX_FDS * _INT_BYTES) + socket.CMSG_SPACE(_CREDENTIALS.size),
                socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
            )
        except (BlockingIOError, InterruptedError):
            return
        if not message:  # nobody has the outer end any more
            self.close()
            return
        fds = array("i")
        pid = uid = -1
        for _level, kind, content in ancillary:
            if kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % _INT_BYTES])
            elif kind == socket.SCM_CREDENTIALS:
                pid, uid, _ = _CREDENTIALS.unpack(content)
        self._take(message, fds, pid=pid, uid=uid)

    def _take(self, message: bytes, fds: Sequence[int], *, pid: int, uid: int) -> None:
        try:
            claimed = msgspec.msgpack.decode(message, type=Caller)
        except msgspec.DecodeError:
            claimed = None
        if claimed is None or not fds or pid <= 0:
            for fd in fds:
                os.close(fd)
            return
        caller = msgspec.structs.replace(claimed, pid=pid)
        control, *rest = fds
        self._on_call(
            Call(
                caller=caller,
                uid=uid,
                control=socket.socket(fileno=control),
                stderr_fd=rest[0] if rest else -1,
            )
        )
