"""A server under measurement ends for good: its processes, its children, its shared memory."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bench.errors import ServerFailed
from bench.measuring import leftovers
from bench.measuring import server as server_module
from bench.measuring.cpu import process_table
from bench.measuring.server import Launch, running
from bench.ports import free_ports

OBEDIENT = "import time; time.sleep(60)"
# Ignores SIGTERM, has a child in a process group of its own, and a mapped segment.
STUBBORN = """
import mmap, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], process_group=0)
with open("/dev/shm/" + sys.argv[1], "w+b") as segment:
    segment.truncate(4096)
    mapped = mmap.mmap(segment.fileno(), 4096)
print("up", flush=True)
time.sleep(60)
"""
# Leaves an orphan behind at once.
LEAVING = """
import subprocess, sys
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print("up", flush=True)
"""


def launch(code, *arguments):
    argv = (sys.executable, "-S", "-c", textwrap.dedent(code), *arguments)
    return Launch(argv=argv, folder=Path.cwd())


def wait_for_text(path, text, *, seconds=10):
    deadline = time.monotonic() + seconds
    while text not in path.read_text():
        assert time.monotonic() < deadline, f"{path.name} holds only {path.read_text()!r}"
        time.sleep(0.005)


def living_in_session(session_id):
    return [
        entry for entry in process_table() if entry.session_id == session_id and not entry.is_zombie
    ]


@pytest.fixture(autouse=True)
def ledger(monkeypatch, tmp_path):
    monkeypatch.setattr(leftovers, "LEDGER", tmp_path / "ledger")
    return tmp_path / "ledger"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(server_module, "STOP_TIMEOUT_S", 0.2)


def test_an_obedient_server_ends_on_sigterm(tmp_path):
    ends = []
    with running("s", launch(OBEDIENT), port=1, log=tmp_path / "log", ends=ends) as server:
        assert living_in_session(server.root_pid)

    (end,) = ends
    assert (end.exit_code, end.killed, end.left_segments) == (-15, (), ())
    assert not living_in_session(server.root_pid)


def test_a_stubborn_server_is_killed_with_its_children_and_its_segment(tmp_path, impatient):
    ends = []
    name = f"mpserve-bench-test-{os.getpid()}"
    with running("s", launch(STUBBORN, name), port=1, log=tmp_path / "log", ends=ends) as server:
        wait_for_text(tmp_path / "log", "up")
        assert (leftovers.SHM / name).exists()

    (end,) = ends
    assert len(end.killed) == 2
    assert end.left_segments == (name,)
    assert not (leftovers.SHM / name).exists()
    assert not living_in_session(server.root_pid)


def test_an_orphan_of_a_server_that_is_gone_is_killed(tmp_path, impatient):
    ends = []
    with running("s", launch(LEAVING), port=1, log=tmp_path / "log", ends=ends) as server:
        wait_for_text(tmp_path / "log", "up")
        with pytest.raises(ServerFailed, match="ended with exit code 0"):
            server.wait_ready()

    assert len(ends[0].killed) == 1
    assert not living_in_session(server.root_pid)


def test_a_server_is_stopped_when_the_measurement_fails(tmp_path):
    ends = []
    with (
        pytest.raises(RuntimeError),
        running("s", launch(OBEDIENT), port=1, log=tmp_path / "log", ends=ends) as server,
    ):
        raise RuntimeError

    assert not living_in_session(server.root_pid)


def test_a_server_that_ends_early_is_told_with_its_last_words(tmp_path):
    code = "import sys; sys.exit('no such flag')"
    with (
        running("s", launch(code), port=free_ports(1)[0], log=tmp_path / "log", ends=[]) as server,
        pytest.raises(ServerFailed, match=r"(?s)exit code 1.*no such flag"),
    ):
        server.wait_ready()


@pytest.mark.parametrize(
    ("ticks_off", "is_ended"),
    [(0, True), (-1, False)],
    ids=["left by a killed run", "its pid is somebody else's now"],
)
def test_a_sweep_ends_what_a_killed_run_left_and_nothing_else(ledger, ticks_off, is_ended):
    left = subprocess.Popen([sys.executable, "-S", "-c", OBEDIENT], start_new_session=True)
    with left:
        (entry,) = living_in_session(left.pid)
        leftovers.enter(
            leftovers.Started(root_pid=left.pid, started_ticks=entry.started_ticks + ticks_off)
        )
        told = []

        leftovers.sweep(told.append)

        assert bool(living_in_session(left.pid)) is not is_ended
        assert told == (
            ["left by a killed run, now removed: processes 1, segments 0"] if is_ended else []
        )
        assert not list(ledger.glob("*"))
        left.kill()


def test_a_server_stands_in_the_ledger_while_it_runs(tmp_path, ledger):
    with running("s", launch(OBEDIENT), port=1, log=tmp_path / "log", ends=[]) as server:
        assert [path.name for path in ledger.glob("*")] == [str(server.root_pid)]

    assert not list(ledger.glob("*"))


def test_ports_are_different():
    assert len(set(free_ports(20))) == 20
