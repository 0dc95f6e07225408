"""A server under measurement: started, waited for, stopped, and nothing of it left behind.

Guarantees
----------
- After `stop` no process of the server's tree lives and no segment that it was seen to have mapped
  is left in `/dev/shm`, also when the server hangs on SIGTERM or was killed.
- When the harness itself is killed, the kernel sends the server SIGTERM; what does not heed it is
  ended by the next run.
"""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

import msgspec

from bench.errors import ServerFailed
from bench.loading.v2_client import V2Client, wait_until
from bench.measuring import leftovers
from bench.measuring.bytecode import environment_of_servers
from bench.measuring.cpu import process_table
from bench.measuring.leftovers import Started
from bench.measuring.parent_death import end_with_parent

READY_TIMEOUT_S: Final = 300  # Triton takes 36 s for 100 models on two quiet cores
PROBE_TIMEOUT_S: Final = 5  # of one question whether it is ready
STOP_TIMEOUT_S: Final = 15  # Triton looks once a second whether it may exit
LOG_TAIL_LINES: Final = 15


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is started: absolute command line, what its environment adds, working folder."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})
    folder: Path
    ready_path: str = "/v2/health/ready"


class StopReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a server ended, and what it would have left behind."""

    exit_code: int | None
    seconds: float
    killed: tuple[str, ...]  # processes that had to be killed, by command line
    left_segments: tuple[str, ...]  # removed by us


class Server:
    """One started server. Make it with `running`."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        started: Started,
        *,
        port: int,
        log: Path,
        started_ns: int,
        ready_path: str,
    ) -> None:
        self.name = name
        self._ready_path = ready_path
        self.port = port
        self.started_ns = started_ns
        self._process = process
        self._started = started
        self._log = log

    @property
    def root_pid(self) -> int:
        """Pid of the first process, which leads the session of all others."""
        return self._process.pid

    def wait_ready(self, *models: str) -> None:
        """Wait until the server and each of `models` say that they are ready.

        Raises
        ------
        ServerFailed
            It ended or was not ready in time; the message holds the last lines of its log.
        """
        with V2Client(self.port, timeout_s=PROBE_TIMEOUT_S) as client:
            try:
                self._wait(partial(client.is_ok, self._ready_path), what="readiness")
                for model in models:
                    self._wait(partial(client.is_model_ready, model), what=f"model '{model}'")
            except ServerFailed as error:
                tail = self.log_tail()
                last_words = tail.rpartition("| ")[2]
                raise ServerFailed(f"{self.name}: {error}: {last_words}\n{tail}") from error

    def note_segments(self) -> None:
        """Remember what the tree has mapped now, in case that it dies before `stop`."""
        mapped = leftovers.mapped_by(leftovers.living(self._started, ()))
        segments = self._started.segments | mapped
        self._started = msgspec.structs.replace(self._started, segments=segments)
        leftovers.enter(self._started)

    def log_tail(self) -> str:
        """The last lines that the server printed."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"    | {line}" for line in lines)

    def stop(self) -> StopReport:
        """SIGTERM to the first process, SIGKILL to what remains, then remove its segments."""
        began_ns = time.monotonic_ns()
        tree = leftovers.living(self._started, ())
        self.note_segments()
        self._process.terminate()
        leftovers.wait_for_end(self._started, tree, seconds=STOP_TIMEOUT_S)
        killed = leftovers.kill(self._started, tree)
        exit_code = self._process.wait(timeout=leftovers.KILL_TIMEOUT_S)  # nothing runs any more
        removed = leftovers.remove_segments(self._started.segments)
        leftovers.strike(self.root_pid)
        return StopReport(
            exit_code=exit_code,
            seconds=(time.monotonic_ns() - began_ns) / 1e9,
            killed=killed,
            left_segments=removed,
        )

    def _wait(self, is_there: Callable[[], bool], *, what: str) -> None:
        deadline_ns = self.started_ns + READY_TIMEOUT_S * 1_000_000_000
        wait_until(lambda: self._is_alive() and is_there(), deadline_ns=deadline_ns, what=what)

    def _is_alive(self) -> bool:
        if self._process.poll() is None:
            return True
        raise ServerFailed(f"ended with exit code {self._process.returncode}")


@contextlib.contextmanager
def running(
    name: str, launch: Launch, *, port: int, log: Path, ends: list[StopReport]
) -> Iterator[Server]:
    """Start a server, not yet ready, and stop it at the end of the block, whatever happens in it.

    Parameters
    ----------
    name
        The word for it in messages.
    launch
        How to start it.
    port
        Where it will answer HTTP on loopback.
    log
        Receives what it prints.
    ends
        Receives the report of its end.
    """
    with log.open("wb") as output:
        server = _start(name, launch, port=port, log=log, output=output)
        try:
            yield server
        finally:
            with _signals_held_back():
                ends.append(server.stop())


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block ends, so that an impatient user leaves no
    processes behind.
    """
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _start(name: str, launch: Launch, *, port: int, log: Path, output: IO[bytes]) -> Server:
    started_ns = time.monotonic_ns()
    process = subprocess.Popen(
        launch.argv,
        cwd=launch.folder,
        env={**environment_of_servers(), **launch.environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
    )
    entry = next(entry for entry in process_table() if entry.pid == process.pid)
    started = Started(root_pid=process.pid, started_ticks=entry.started_ticks)
    leftovers.enter(started)
    return Server(
        name,
        process,
        started,
        port=port,
        log=log,
        started_ns=started_ns,
        ready_path=launch.ready_path,
    )
