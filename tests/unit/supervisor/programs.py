"""Small programs in place of workers, for the tests of processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mpserve.control.channel import BlockingChannel
from mpserve.control.messages import ToWorker, WorkerLoadFailed, WorkerReady
from mpserve.errors import ErrorCode, Failure
from mpserve.model.config import ModelConfig
from mpserve.supervisor.entrypoints import EntryPoint

_MODULE = "tests.unit.supervisor.programs"
SLOW_SECONDS = 60.0  # beyond every deadline of the tests


def entry_points(function):
    """Return a table in which every role is `function` of this module."""
    target = f"{_MODULE}:{function}"
    return {"worker": EntryPoint(target=target, start="WorkerStart", preload=(_MODULE,))}


def obey(start, control):
    """Say that it is ready, then do what `instance_name` says."""
    channel = BlockingChannel(control, ToWorker)
    channel.send(WorkerReady(config=ModelConfig(), config_json=str(os.getpid()), load_ms=0))
    return _DEEDS[start.instance_name](channel)


def _wait_for_end(channel):
    channel.receive()
    return 0


def _exit_with_three(_channel):
    return 3


def _raise(_channel):
    raise RuntimeError("broken on purpose")


def _say_last_words(channel):
    os.write(2, b"first\n\n" + b"".join(b"line %d\n" % number for number in range(6)) + b"rest")
    channel.send(
        WorkerLoadFailed(failure=Failure(code=ErrorCode.LOAD_FAILED, message="no"), traceback="")
    )
    return 1


def _die(_channel):
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(_channel):
    time.sleep(SLOW_SECONDS)
    return 0


def _list_descriptors(channel):
    listed = " ".join(path.name for path in Path("/proc/self/fd").iterdir())
    channel.send(WorkerReady(config=ModelConfig(), config_json=listed, load_ms=1))
    return 0


def _leave_a_grandchild(_channel):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
    return 0


_DEEDS = {
    "wait": _wait_for_end,
    "exit": _exit_with_three,
    "raise": _raise,
    "last words": _say_last_words,
    "die": _die,
    "sleep": _sleep,
    "descriptors": _list_descriptors,
    "grandchild": _leave_a_grandchild,
}
