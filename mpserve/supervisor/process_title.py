"""The name of a process as `ps` and `top` show it."""

from pathlib import Path

_COMM_BYTES = 15  # the kernel's limit


def set_process_title(title: str) -> None:
    """Name this process; what is longer than the kernel allows is cut."""
    Path("/proc/self/comm").write_bytes(title.encode()[:_COMM_BYTES])
