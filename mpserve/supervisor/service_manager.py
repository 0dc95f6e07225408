"""The service manager that started the server: told how it goes, and asked for its sockets.

Source: systemd's `sd_notify(3)` and `sd_listen_fds(3)`; spoken directly, no library is needed.
"""

import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

import msgspec

FIRST_FD: Final = 3
_NOTIFY: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")
_LISTEN: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class LentSockets(msgspec.Struct, frozen=True, kw_only=True):
    """Sockets that the manager listens on for us, by what they are called; `None` for none."""

    http: int | None = None
    grpc: int | None = None
    metrics: int | None = None


class ServiceManager:
    """Where to tell; nowhere, when nobody listens.

    Attributes
    ----------
    lent
        What the manager listens on for us.
    """

    def __init__(self, *, address: str, is_watching: bool, lent: LentSockets) -> None:
        self._address = address
        self._is_watching = is_watching
        self.lent = lent

    @classmethod
    def of(cls, environ: MutableMapping[str, str], *, pid: int) -> Self:
        """Return the manager that `environ` names, and take it out: models have none."""
        address = environ.pop(_NOTIFY, "")
        usec, watched = (environ.pop(name, "") for name in _WATCHDOG)
        count, listener, names = (environ.pop(name, "") for name in _LISTEN)
        is_watching = usec.isdecimal() and int(usec) > 0 and watched in {"", str(pid)}
        is_ours = listener == str(pid) and count.isdecimal()
        lent = _lent(int(count), names) if is_ours else LentSockets()
        return cls(address=address, is_watching=is_watching, lent=lent)

    def tell(self, *lines: str) -> None:
        """Tell the manager; without effect when it does not listen."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            try:
                notifier.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, address)
            except OSError:
                return

    def beat(self) -> None:
        """Tell that the server is well, when the manager wants to know."""
        if self._is_watching:
            self.tell("WATCHDOG=1")


def _lent(count: int, names: str) -> LentSockets:
    """Return the sockets with names of ours; where none has one, the first is for HTTP."""
    fds = {}
    for place, name in zip(range(count), names.split(":"), strict=False):
        if name in LentSockets.__struct_fields__:
            fds[name] = FIRST_FD + place
    if count and not fds:
        fds["http"] = FIRST_FD
    for fd in fds.values():
        os.set_inheritable(fd, False)  # noqa: FBT003  # the function's only form
    return LentSockets(**fds)
