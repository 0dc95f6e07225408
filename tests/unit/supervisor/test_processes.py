"""Children, the spawner, and what happens when either dies: real processes without a server."""

import asyncio
import contextlib
import ctypes
import itertools
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from mpserve.control.door import NO_DOOR
from mpserve.control.messages import (
    FromWorker,
    SharedPlaces,
    StopWorker,
    WorkerLoadFailed,
    WorkerReady,
    WorkerStart,
)
from mpserve.control.spawner_messages import ChildExited
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.identity import InstanceKey
from mpserve.model.log_switches import LogSwitches
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.inheritance import FirstSpawner
from mpserve.supervisor.pidfd import started_ticks
from mpserve.supervisor.processes import ChildRecord, Processes
from mpserve.supervisor.shared_places import ProcessIdentity
from mpserve.supervisor.spawner import EXIT_CRASHED, SpawnerArguments
from mpserve.supervisor.spawner_link import SpawnerLink
from mpserve.supervisor.spawner_process import execute_spawner
from tests.unit.supervisor.programs import entry_points

DEADLINE_S = 20.0
EPOCHS = itertools.count(1)
PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).parents[3]

START = WorkerStart(
    instance=InstanceKey(name="m", version="1", generation=1, index=0),
    instance_name="wait",
    instance_kind="KIND_CPU",
    instance_slot=0,
    places=SharedPlaces(
        server_id="0",
        board_segment="",
        process_index=1,
        epoch=1,
        ring_segments=(),
        wake_fds=(),
        arena_initial_bytes=0,
        arena_max_bytes=0,
    ),
    queue_segment="",
    runtime="",
    format=ConfigFormat.TRITON,
    model_directory="",
    version_directory="",
    config=ModelConfig(),
    config_json="",
    settings_json="",
    complete_config=False,
    log=LogSwitches(),
)


class Watched:
    """A child and what was heard of it."""

    def __init__(self, processes, deed):
        self.messages = []
        self.ends = []
        self._changed = asyncio.Event()
        fields = {name: getattr(START, name) for name in START.__struct_fields__}
        process = ProcessIdentity(index=1, epoch=next(EPOCHS))
        self.child = processes.spawn(
            "worker",
            WorkerStart(**{**fields, "instance_name": deed}),
            record=ChildRecord(process=process, holder=START.instance, title="mps:test"),
            receives=FromWorker,
            on_message=self._on_message,
            on_end=self._on_end,
        )

    def _on_message(self, message):
        self.messages.append(message)
        self._changed.set()

    def _on_end(self, end):
        self.ends.append(end)
        self._changed.set()

    async def ready(self):
        await self._until(lambda: self.messages)
        await until(lambda: self.child.pid is not None)  # the child may be faster than the spawner
        return self.messages[0]

    async def end(self):
        await self._until(lambda: self.ends)
        return self.ends[0]

    async def _until(self, condition):
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def until(condition):
    """Wait for what tells no event."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # what ends tells nobody here
            await asyncio.sleep(0.005)


async def kill_spawner(link):
    """Kill the spawner and wait for the next one."""
    pid = link.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: link.pid != pid)


def reap(pid):
    """Be the root, which reaps the children of a dead spawner."""
    os.waitpid(pid, 0)


def title_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().removesuffix("\n")


@contextlib.asynccontextmanager
async def running_processes(function="obey", kept_fds=()):
    """A spawner and the children of it; at the end nothing is left."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair()
    with theirs:
        arguments = SpawnerArguments(
            control_fd=theirs.fileno(), kept_fds=kept_fds, entry_points=entry_points(function)
        )
        pid = execute_spawner(arguments)
    checkpoint = Checkpoint(checkpoint_files())
    link = SpawnerLink(
        first=FirstSpawner(pid=pid, started_ticks=started_ticks(pid), control=ours),
        kept_fds=kept_fds,
        door_fd=NO_DOOR,
        entry_points=entry_points(function),
        checkpoint=checkpoint,
        now_ns=time.monotonic_ns,
    )
    processes = Processes(link, checkpoint)
    try:
        yield processes, link
    finally:
        processes.kill_all()
        await until(lambda: len(processes) == 0)
        await link.stop()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def importable_programs(monkeypatch):
    """The spawner is a program of its own and must find the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(scenario, **options):
    async def main():
        async with running_processes(**options) as (processes, link):
            return await scenario(processes, link)

    return asyncio.run(main())


def test_a_child_runs_under_its_title_and_ends_when_it_is_told():
    async def scenario(processes, _link):
        watched = Watched(processes, "wait")
        ready = await watched.ready()
        title = title_of(ready.config_json)
        watched.child.send(StopWorker())
        end = await watched.end()
        assert (title, end.exit_code, end.signal_number) == ("mps:test", 0, None)

    run(scenario)


@pytest.mark.parametrize(
    ("deed", "exit_code", "signal_number"),
    [("exit", 3, None), ("die", None, signal.SIGKILL), ("raise", EXIT_CRASHED, None)],
)
def test_the_way_a_child_ends_is_told(deed, exit_code, signal_number):
    async def scenario(processes, _link):
        end = await Watched(processes, deed).end()
        assert (end.exit_code, end.signal_number) == (exit_code, signal_number)

    run(scenario)


def test_the_last_words_and_the_last_message_of_a_child_come_before_its_end():
    async def scenario(processes, _link):
        watched = Watched(processes, "last words")
        end = await watched.end()
        assert end.last_lines == ("line 3", "line 4", "line 5", "rest")
        assert [type(message) for message in watched.messages] == [WorkerReady, WorkerLoadFailed]

    run(scenario)


def test_a_child_that_raises_tells_the_traceback():
    async def scenario(processes, _link):
        end = await Watched(processes, "raise").end()
        assert end.last_lines[-1] == "RuntimeError: broken on purpose"

    run(scenario)


def test_a_child_can_be_killed_even_before_it_was_forked():
    async def scenario(processes, _link):
        watched = Watched(processes, "sleep")
        watched.child.kill()
        assert (await watched.end()).signal_number == signal.SIGKILL

    run(scenario)


def test_a_child_has_no_descriptors_but_its_own_and_the_kept_ones():
    read_fd, write_fd = os.pipe()

    async def scenario(processes, _link):
        watched = Watched(processes, "descriptors")
        await watched.end()
        return {int(fd) for fd in watched.messages[-1].config_json.split()}

    listed = run(scenario, kept_fds=(write_fd,))
    os.close(read_fd)
    os.close(write_fd)
    assert {0, 1, 2, write_fd} <= listed
    assert len(listed - {0, 1, 2, write_fd}) == 2  # the control socket, and the listing itself


def test_an_end_is_told_though_a_grandchild_keeps_the_stderr_open():
    async def scenario(processes, _link):
        end = await Watched(processes, "grandchild").end()
        assert end.exit_code == 0

    run(scenario)


def test_a_dead_spawner_leaves_the_children_running_and_is_replaced():
    async def scenario(processes, link):
        old = Watched(processes, "wait")
        await old.ready()
        await kill_spawner(link)
        new = Watched(processes, "wait")
        await new.ready()
        assert old.ends == []
        assert psutil.pid_exists(old.child.pid)
        old.child.send(StopWorker())
        await old.end()
        reap(old.child.pid)

    run(scenario)


def test_the_death_of_a_child_is_seen_after_the_death_of_its_spawner():
    async def scenario(processes, link):
        watched = Watched(processes, "sleep")
        await watched.ready()
        await kill_spawner(link)
        os.kill(watched.child.pid, signal.SIGKILL)
        end = await watched.end()
        assert end.signal_number is None  # only the root could tell
        reap(watched.child.pid)

    run(scenario)


def test_how_a_child_of_a_dead_spawner_ended_is_told_by_who_has_reaped_it():
    async def scenario(processes, link):
        watched = Watched(processes, "sleep")
        await watched.ready()
        await kill_spawner(link)
        pid = watched.child.pid
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        processes.on_exited(ChildExited(pid=pid, exit_code=None, signal_number=signal.SIGKILL))
        assert (await watched.end()).signal_number == signal.SIGKILL

    run(scenario)


def test_children_that_a_dead_spawner_was_asked_for_count_as_ended():
    async def scenario(processes, link):
        os.kill(link.pid, signal.SIGSTOP)
        watched = Watched(processes, "wait")
        os.kill(link.pid, signal.SIGKILL)
        end = await watched.end()
        assert end.last_lines == ("the spawner died before it answered",)

    run(scenario)
