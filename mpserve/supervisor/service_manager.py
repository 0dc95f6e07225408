"""The service manager that started the server: told how it goes, and asked for its sockets.

Source: systemd's `sd_notify(3)` and `sd_listen_fds(3)`; spoken directly, no library is needed.
"""

import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

FIRST_FD: Final = 3
_NOTIFY: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")
_LISTEN: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class ServiceManager:
    """Where to tell; nowhere, when nobody listens.

    Attributes
    ----------
    http_fd
        Socket that the manager listens on for us, `None` for none.
    """

    def __init__(self, *, address: str, is_watching: bool, http_fd: int | None) -> None:
        self._address = address
        self._is_watching = is_watching
        self.http_fd = http_fd

    @classmethod
    def of(cls, environ: MutableMapping[str, str], *, pid: int) -> Self:
        """Return the manager that `environ` names, and take it out: models have none."""
        address = environ.pop(_NOTIFY, "")
        usec, watched = (environ.pop(name, "") for name in _WATCHDOG)
        count, listener, names = (environ.pop(name, "") for name in _LISTEN)
        is_watching = usec.isdecimal() and int(usec) > 0 and watched in {"", str(pid)}
        http_fd = (
            _http_fd(int(count), names) if listener == str(pid) and count.isdecimal() else None
        )
        return cls(address=address, is_watching=is_watching, http_fd=http_fd)

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


def _http_fd(count: int, names: str) -> int | None:
    """Return the socket called `http`, or else the first."""
    if count < 1:
        return None
    called = names.split(":")
    place = called.index("http") if "http" in called[:count] else 0
    fd = FIRST_FD + place
    os.set_inheritable(fd, False)  # noqa: FBT003  # the function's only form
    return fd
