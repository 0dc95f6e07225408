"""Handing a shared port over: who connects from now on is another server's client.

A listening socket that closes resets connections that wait in its queue and those whose handshake
is under way, although another socket listens on the port (`SO_REUSEPORT`). So it first refuses to
see the beginnings of handshakes: those that have begun end and are accepted, and clients that come
repeat theirs a second later (RFC 6298 section 2.1), when the other socket alone is left. With
`net.ipv4.tcp_migrate_req` the kernel moves them by itself, and there is nothing to do.
"""

import ctypes
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mpserve.telemetry import log

HANDSHAKE_SECONDS: Final = 0.25  # a long way round the earth; well below the second of RFC 6298
DRAIN_HANDSHAKE_SECONDS: Final = 3.0  # of TLS: four ways, one of which is repeated after a second

_DESCRIPTORS: Final = Path("/proc/self/fd")
_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
_MIGRATES: Final = Path("/proc/sys/net/ipv4/tcp_migrate_req")
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python does not name it
_FLAGS_PLACE: Final = 13  # in the header of TCP, RFC 9293 section 3.1
_SYN: Final = 0x02
# Classic BPF as of linux/filter.h: (code, jump if true, jump if false, operand). What it returns is
# how many octets of the segment are kept.
_PROGRAM: Final = (
    (0x30, 0, 0, _FLAGS_PLACE),  # load that octet
    (0x45, 0, 1, _SYN),  # has it this bit?
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFF_FFFF),
)


def hand_over(listener: socket.socket) -> bool:
    """Let no handshake begin on a listening socket any more.

    Returns
    -------
    bool
        Handshakes that are under way need `HANDSHAKE_SECONDS`, in which the socket must still be
        accepted from.
    """
    if _kernel_migrates():
        return False
    instructions = b"".join(struct.pack("HBBI", *one) for one in _PROGRAM)
    place = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("HP", len(_PROGRAM), ctypes.addressof(place))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        log.warning("port.kept", error=str(error))
        return False
    return True


def own_listeners(port: int) -> Iterator[socket.socket]:
    """Return copies of this process's listening sockets of TCP on a port, whoever made them."""
    for fd in [int(place.name) for place in _DESCRIPTORS.iterdir()]:
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            copy = socket.socket(fileno=os.dup(fd))
        except OSError:  # it was closed meanwhile
            continue
        if _listens_on(copy, port):
            yield copy
        else:
            copy.close()


def _listens_on(one: socket.socket, port: int) -> bool:
    if one.family not in _INTERNET or one.type != socket.SOCK_STREAM:
        return False
    accepts = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(accepts) and one.getsockname()[1] == port


def _kernel_migrates() -> bool:
    """Tell whether connections go to another socket on the port by themselves (Linux 5.14)."""
    try:
        return _MIGRATES.read_text() != "0\n"
    except OSError:
        return False
