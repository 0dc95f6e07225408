"""What the doctor says of machines."""

import os
import resource
import socket
import subprocess
import sys
from subprocess import PIPE

import pytest
from click.testing import CliRunner

from mpserve.cli import doctor as room
from mpserve.cli.main import main


def statvfs(free_bytes: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 1 << 20, 0, free_bytes // 4096, 0, 0, 0, 0, 255))


@pytest.mark.parametrize(
    ("finding", "is_well"),
    [
        (room.shared_memory(statvfs(64 << 20)), True),
        (room.shared_memory(statvfs(63 << 20)), False),
        (room.descriptors(1024), False),
        (room.descriptors(4096), True),
        (room.descriptors(resource.RLIM_INFINITY), True),
        (room.backlog(128), False),
        (room.backlog(4096), True),
        (room.backlog(None), True),
        (room.memory_maps(1000), False),
        (room.clock(0.0), False),
        (room.clock(1_800_000_000.0), True),
    ],
)
def test_what_is_too_little_comes_with_an_advice(finding, is_well):
    assert (finding.advice == "") is is_well


@pytest.mark.parametrize(
    ("options", "everywhere", "seen"),
    [
        ("rw,nosuid", "always advise [never] deny force", "no (mount -o remount,huge=advise"),
        ("rw,huge=advise", "always advise [never] deny force", "yes (huge=advise)"),
        ("rw,huge=always,size=1g", "[always] advise never deny force", "yes (huge=always)"),
        ("rw,huge=always", "always advise never [deny] force", "denied by /sys/kernel"),
        ("rw", "always advise never deny [force]", "forced by /sys/kernel"),
        ("rw", "", "this kernel has none"),
    ],
    ids=["as Linux comes", "on request", "always", "denied", "forced", "not built in"],
)
def test_whether_tensors_have_huge_pages_is_told_and_is_no_fault(options, everywhere, seen):
    mounts = f"tmpfs /dev tmpfs rw,huge=always 0 0\ntmpfs /dev/shm tmpfs {options} 0 0\n"

    finding = room.huge_pages(mounts, everywhere)

    assert finding.seen.startswith(seen)
    assert finding.advice == ""


def test_of_two_mounts_of_shared_memory_the_one_on_top_counts():
    mounts = "tmpfs /dev/shm tmpfs rw,huge=always 0 0\ntmpfs /dev/shm tmpfs rw,huge=never 0 0\n"
    assert room.huge_pages(mounts, "[never]").seen.startswith("no")


@pytest.mark.parametrize("kind", ["none", "read-only"])
def test_shared_memory_that_can_not_be_used_comes_with_an_advice(monkeypatch, tmp_path, kind):
    if kind == "read-only":
        monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(
        room, "SHARED_MEMORY", str(tmp_path / "shm" if kind == "none" else tmp_path)
    )
    finding = next(room.examine(()))
    told = "No such file or directory" if kind == "none" else "this user may not write there"
    assert finding.seen == told
    assert str(tmp_path) in finding.advice


def test_a_container_without_sys_is_not_a_kernel_without_huge_pages(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "KERNEL_MEMORY", str(tmp_path / "none"))
    (finding,) = (one for one in room.examine(()) if one.what.startswith("huge pages"))
    assert finding.seen.startswith("unknown")
    assert finding.advice == ""


def test_a_port_that_is_taken_is_told_and_makes_the_exit_code_1():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        number = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["doctor", f"--port={number}"])
    assert result.exit_code == 1
    assert f"!!  port {number}: taken by " in result.output
    assert f"(pid {os.getpid()})" in result.output
    assert "free in /dev/shm" in result.output


def test_the_ports_of_both_dialects_are_looked_at_by_themselves():
    found = [one.what for one in room.examine(())]
    assert "port 8000, HTTP of `mpserve serve`" in found
    assert "port 8081, gRPC of `mpserve start`" in found


def test_a_port_that_mpserve_has_is_well(serve_on_a_port):
    assert not room.port(serve_on_a_port).advice


@pytest.fixture
def serve_on_a_port():
    """Something that is called as a server is, and listens."""
    code = """
import socket, sys
listener = socket.create_server(("", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, "-m", "mpserve"], stdin=PIPE, stdout=PIPE, text=True
    ) as listener:
        yield int(listener.stdout.readline())
        listener.stdin.close()
