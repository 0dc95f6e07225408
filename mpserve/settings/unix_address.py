"""Addresses of Unix-domain sockets: `unix:/run/mpserve/http.sock`."""

from typing import Final

PREFIX: Final = "unix:"


def unix_path(address: str) -> str | None:
    """Return the path of a Unix-domain socket; `None` for an address of the Internet."""
    return address.removeprefix(PREFIX) if address.startswith(PREFIX) else None
