"""`mpserve doctor`: whether this machine is fit for a server, and what to change if it is not."""

import contextlib
import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec
import psutil

from mpserve.errors import LoadError
from mpserve.settings import Allocator
from mpserve.supervisor.allocator import find_allocator

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  where Linux keeps POSIX shared memory
HUGE_PAGES: Final = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
MIN_SHARED_BYTES: Final = 64 << 20  # a container's default; enough for small tensors
MIN_DESCRIPTORS: Final = 4096  # one for each connection, two for each mapped arena
MIN_BACKLOG: Final = 4096  # what the listeners ask for, and Linux gives as it comes
WALL_CLOCK_BEGIN: Final = 1_700_000_000  # November 2023: before that, nobody has set the clock
DEFAULT_PORTS: Final = {
    8000: "HTTP of `mpserve serve`",
    8001: "gRPC of `mpserve serve`",
    8002: "metrics of `mpserve serve`",
    8080: "HTTP of `mpserve start`",
    8081: "gRPC of `mpserve start`",
    8082: "metrics of `mpserve start`",
}
"""Looked at when no port is named."""
KERNEL_MEMORY: Final = "/sys/kernel/mm"
_MIB: Final = 1 << 20


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `advice` says what to change, "" when it is well."""

    what: str
    seen: str
    advice: str = ""


@click.command()
@click.option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    help="See whether this port is free; repeatable.  [default: 8000-8002, 8080-8082]",
)
def doctor(ports: tuple[int, ...]) -> None:
    """Look at kernel limits, shared memory, ports, the clock and allocators.

    The exit code is 1 when something should be changed.
    """
    findings = tuple(examine(ports))
    for one in findings:
        mark = "!!" if one.advice else "ok"
        click.echo(f"{mark}  {one.what}: {one.seen}")
        if one.advice:
            click.echo(f"    {one.advice}")
    sys.exit(1 if any(one.advice for one in findings) else 0)


def examine(ports: tuple[int, ...]) -> Iterator[Finding]:
    """Return what there is to say of this machine."""
    yield _shared_memory_of(SHARED_MEMORY)
    if Path(KERNEL_MEMORY).is_dir():
        yield huge_pages(_text("/proc/self/mounts"), _text(HUGE_PAGES))
    else:
        yield Finding(
            what=f"huge pages in {SHARED_MEMORY}", seen=f"unknown: there is no {KERNEL_MEMORY}"
        )
    yield descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # the server raises the soft
    yield backlog(_number("/proc/sys/net/core/somaxconn"))
    yield memory_maps(_number("/proc/sys/vm/max_map_count"))
    yield clock(time.time())
    yield from (port(number) for number in ports or DEFAULT_PORTS)
    yield from (allocator(one) for one in Allocator if one is not Allocator.MALLOC)


def _shared_memory_of(place: str) -> Finding:
    try:
        found = os.statvfs(place)
    except OSError as error:
        return Finding(
            what=f"free in {place}",
            seen=error.strerror or str(error),
            advice=f"tensors lie there: mount -t tmpfs -o mode=1777,size=1g tmpfs {place}",
        )
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(
            what=f"free in {place}",
            seen="this user may not write there",
            advice=f"tensors lie there: chmod 1777 {place}, or run as another user",
        )
    return shared_memory(found)


def shared_memory(found: os.statvfs_result) -> Finding:
    """Tensors lie there."""
    free = found.f_bavail * found.f_frsize
    return Finding(
        what=f"free in {SHARED_MEMORY}",
        seen=f"{free // _MIB} MiB of {found.f_blocks * found.f_frsize // _MIB} MiB",
        advice=_unless(
            free >= MIN_SHARED_BYTES,
            "tensors need at least 64 MiB: docker run --shm-size=1g, or mount -o remount,size=1g",
        ),
    )


def huge_pages(mounts: str, everywhere: str) -> Finding:
    """Tensors of 2 MiB and more have them where they are given; their lack is no fault.

    Parameters
    ----------
    mounts
        Lines of `/proc/self/mounts`; the last mount of a place is the one that is seen.
    everywhere
        `shmem_enabled`, whose chosen word stands in brackets: `deny` and `force` go before what the
        mount says.
    """
    options = [
        fields[3].split(",")
        for fields in (line.split() for line in mounts.splitlines())
        if len(fields) > 3 and fields[1] == SHARED_MEMORY
    ]
    asked = next((one for one in (options or [[]])[-1] if one.startswith("huge=")), "huge=never")
    if not everywhere:
        seen = "this kernel has none"
    elif "[deny]" in everywhere:
        seen = f"denied by {HUGE_PAGES}"
    elif "[force]" in everywhere:
        seen = f"forced by {HUGE_PAGES}"
    elif asked == "huge=never":
        seen = f"no (mount -o remount,huge=advise {SHARED_MEMORY} gives them to tensors from 2 MiB)"
    else:
        seen = f"yes ({asked})"
    return Finding(what=f"huge pages in {SHARED_MEMORY}", seen=seen)


def descriptors(limit: int) -> Finding:
    """Each connection needs one, each mapped arena two."""
    return Finding(
        what="open files of a process",
        seen="no limit" if limit == resource.RLIM_INFINITY else str(limit),
        advice=_unless(
            limit == resource.RLIM_INFINITY or limit >= MIN_DESCRIPTORS,
            f"raise it for many connections: ulimit -Hn {MIN_DESCRIPTORS}, LimitNOFILE= in a unit",
        ),
    )


def backlog(limit: int | None) -> Finding:
    """Connections that wait to be accepted."""
    return Finding(
        what="connections that may wait (net.core.somaxconn)",
        seen="unknown" if limit is None else str(limit),
        advice=_unless(
            limit is None or limit >= MIN_BACKLOG,
            f"bursts of connections are refused: sysctl -w net.core.somaxconn={MIN_BACKLOG}",
        ),
    )


def memory_maps(limit: int | None) -> Finding:
    """Each frontend maps the arenas of all workers."""
    return Finding(
        what="mappings of a process (vm.max_map_count)",
        seen="unknown" if limit is None else str(limit),
        advice=_unless(
            limit is None or limit >= 65530, "below the kernel's default: raise it to 65530"
        ),
    )


def clock(now: float) -> Finding:
    """Certificates and events go by it."""
    return Finding(
        what="clock",
        seen=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)),
        advice=_unless(now >= WALL_CLOCK_BEGIN, "it is not set: start an NTP client"),
    )


def port(number: int) -> Finding:
    """Whether a server could listen there, or does."""
    use = DEFAULT_PORTS.get(number)
    what = f"port {number}" + (f", {use}" if use else "")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", number))
        except OSError as error:
            refused = error.strerror or str(error)
        else:
            return Finding(what=what, seen="free")
    command = _listener(number)
    return Finding(
        what=what,
        seen=f"taken by {command.title} (pid {command.pid})" if command else refused,
        advice=_unless(command is not None and command.is_server, _OTHER_PORT),
    )


_OTHER_PORT: Final = "choose another one (--http-port and the like), or end what listens there"


class _Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has a port."""

    pid: int
    title: str
    is_server: bool


def _listener(number: int) -> _Listener | None:
    """Return who listens; `None` when it is another user's, and not to be seen from here."""
    with contextlib.suppress(psutil.Error):
        for one in psutil.net_connections("tcp"):
            if (
                one.status == psutil.CONN_LISTEN
                and one.laddr
                and one.laddr.port == number
                and one.pid
            ):
                command = psutil.Process(one.pid).cmdline()
                return _Listener(
                    pid=one.pid,
                    title=" ".join(command[:3]),
                    is_server=any(Path(word).name == "mpserve" for word in command),
                )
    return None


def allocator(one: Allocator) -> Finding:
    """Only for those who ask for it, so its lack is no fault."""
    try:
        seen = find_allocator(one)
    except LoadError:
        seen = "not installed (only needed for --allocator)"
    return Finding(what=f"allocator {one.value}", seen=seen)


def _unless(is_well: bool, advice: str) -> str:  # noqa: FBT001  # what is asked, not how
    return "" if is_well else advice


def _number(path: str) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
