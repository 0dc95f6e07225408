"""What is done to a model while it is asked at a constant rate, and what its clients see of it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from bench.errors import ServerFailed
from bench.loading.closed_loop import LoadResult
from bench.loading.open_loop import OK, OpenLoad, run_open_loop
from bench.loading.v2_client import HttpRequest, V2Client
from bench.measuring.cpu import RolePattern, read_tree
from bench.report.results import Recovery

BETWEEN_RELOADS_S: Final = 0.5
BEFORE_KILL_S: Final = 1.0
WORKER: Final = "worker"


class Disturbance(Protocol):
    """Something that happens while the load runs."""

    killed_at_ns: int | None
    """When the model's process was killed, on the monotonic clock; None when it was not."""

    def run(self, is_over: threading.Event) -> None:
        """Do it, until it is done or `is_over`."""


class Disturbed(msgspec.Struct, frozen=True, kw_only=True):
    """The client's side of a disturbed load."""

    load: LoadResult
    recovery: Recovery | None


class Reloads:
    """Loads the model again and again, each time with changed code."""

    killed_at_ns: int | None = None

    def __init__(self, client: V2Client, model: str, folder: Path) -> None:
        self._client = client
        self._model = model
        self._code = folder / "1" / "model.py"
        self.count = 0

    def run(self, is_over: threading.Event) -> None:
        """Change the code and call load, twice a second."""
        text = self._code.read_text()
        while not is_over.wait(BETWEEN_RELOADS_S):
            self.count += 1
            self._code.write_text(f"{text}\n# reload {self.count}\n")
            self._client.load(self._model)


class WorkerKill:
    """Kills the process that runs the model, once."""

    def __init__(self, root_pid: int, roles: Sequence[RolePattern]) -> None:
        self._root_pid = root_pid
        self._roles = roles
        self.killed_at_ns: int | None = None

    def run(self, is_over: threading.Event) -> None:
        """Wait a second, then SIGKILL.

        Raises
        ------
        ServerFailed
            The server has no process for the model.
        """
        is_over.wait(BEFORE_KILL_S)
        tree = read_tree(self._root_pid, self._roles)
        victims = [one.pid for one in tree.processes if one.role == WORKER]
        if not victims:
            raise ServerFailed("there is no process that runs the model")
        self.killed_at_ns = time.monotonic_ns()
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run_disturbed(
    request: HttpRequest, load: OpenLoad, disturbance: Disturbance, *, port: int
) -> Disturbed:
    """Apply the load, and `disturbance` beside it.

    Raises
    ------
    BenchError, OSError
        The load or the disturbance failed.
    """
    is_over = threading.Event()
    failures: list[Exception] = []

    def disturb() -> None:
        try:
            disturbance.run(is_over)
        except Exception as error:  # noqa: BLE001  raised below: a load without it is no figure
            failures.append(error)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    try:
        seen = run_open_loop(request, load, port=port)
    finally:
        is_over.set()
        thread.join()
    if failures:
        raise failures[0]
    killed_at_ns = disturbance.killed_at_ns
    return Disturbed(
        load=seen.load,
        recovery=None
        if killed_at_ns is None
        else recovery(seen.answers, killed_at_ns=killed_at_ns, failed=seen.load.errors),
    )


def recovery(answers: npt.NDArray[np.int64], *, killed_at_ns: int, failed: int) -> Recovery:
    """Read from all answers what the kill did.

    Parameters
    ----------
    answers
        Rows of (due, latency, status), in nanoseconds of the monotonic clock.
    killed_at_ns
        When the process was killed.
    failed
        Requests that were answered with an error or not at all.
    """
    due, latency, status = answers.T
    is_good = (status == OK) & (due > killed_at_ns)
    back = (due + latency)[is_good]
    return Recovery(
        failed=failed,
        longest_wait_ms=float(latency.max()) / 1e6,
        back_after_ms=float(back.min() - killed_at_ns) / 1e6 if back.size else None,
    )
