"""A server under measurement: started, waited for, stopped, and nothing of it left behind.

Guarantees
----------
- After `stop` no process of the server's tree lives and no segment that it had mapped is left in
  `/dev/shm`, also when the server hangs on SIGTERM or was killed.
- When the harness itself is killed, the kernel sends the server SIGTERM.

Owner
-----
Only processes of the tree that this object started are signalled, each checked by pid and start
time.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

import msgspec

from bench.cpu import ProcessEntry, process_table, tree_entries
from bench.errors import ServerFailed
from bench.v2_client import V2Client, wait_until

SHM: Final = Path("/dev/shm")  # where the kernel keeps POSIX shared memory
READY_TIMEOUT_S: Final = 300  # Triton takes 36 s for 100 models on two quiet cores
PROBE_TIMEOUT_S: Final = 5  # of one question whether it is ready
STOP_TIMEOUT_S: Final = 15  # Triton looks once a second whether it may exit
KILL_TIMEOUT_S: Final = 5
LOG_TAIL_LINES: Final = 15
_POLL_S: Final = 0.01
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is started: absolute command line, what its environment adds, and its working
    folder.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})
    folder: Path


class StopReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a server ended, and what it would have left behind."""

    exit_code: int | None
    seconds: float
    killed: tuple[str, ...]  # processes that had to be killed, by command line
    left_segments: tuple[str, ...]  # removed by us


class Server:
    """One started server. Make it with `running`."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], log: Path, *, port: int, started_ns: int
    ) -> None:
        self.name = name
        self.port = port
        self.started_ns = started_ns
        self._process = process
        self._log = log
        self._segments: set[str] = set()

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
                self._wait(client.is_ready, what="readiness")
                for model in models:
                    self._wait(partial(client.is_model_ready, model), what=f"model '{model}'")
            except ServerFailed as error:
                raise ServerFailed(f"{self.name}: {error}\n{self.log_tail()}") from error

    def note_segments(self) -> None:
        """Remember what the tree has mapped now, in case that it dies before `stop`."""
        tree = tree_entries(self.root_pid)
        self._segments |= {name for entry in tree for name in mapped_segments(entry.pid)}

    def log_tail(self) -> str:
        """The last lines that the server printed."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"    | {line}" for line in lines)

    def stop(self) -> StopReport:
        """SIGTERM to the first process, SIGKILL to what remains, then remove its segments."""
        began_ns = time.monotonic_ns()
        tree = tree_entries(self.root_pid)
        self.note_segments()
        self._process.terminate()
        self._wait_for_end(STOP_TIMEOUT_S, known=tree)
        killed = self._kill_rest(tree)
        return StopReport(
            exit_code=self._process.poll(),
            seconds=(time.monotonic_ns() - began_ns) / 1e9,
            killed=killed,
            left_segments=_remove_segments(self._segments),
        )

    def _wait(self, is_there: Callable[[], bool], *, what: str) -> None:
        deadline_ns = self.started_ns + READY_TIMEOUT_S * 1_000_000_000
        wait_until(lambda: self._is_alive() and is_there(), deadline_ns=deadline_ns, what=what)

    def _is_alive(self) -> bool:
        if self._process.poll() is None:
            return True
        raise ServerFailed(f"ended with exit code {self._process.returncode}")

    def _wait_for_end(self, seconds: float, *, known: tuple[ProcessEntry, ...]) -> None:
        deadline_ns = time.monotonic_ns() + int(seconds * 1e9)
        while time.monotonic_ns() < deadline_ns:
            if self._process.poll() is not None and not _living(known, root_pid=self.root_pid):
                return
            time.sleep(_POLL_S)

    def _kill_rest(self, known: tuple[ProcessEntry, ...]) -> tuple[str, ...]:
        """Kill what outlived SIGTERM; multiprocessing's resource trackers last, as they clean up
        when all others are gone.
        """
        killed: list[str] = []
        for spared in ("resource_tracker", None):
            for entry in _living(known, root_pid=self.root_pid):
                title = _title(entry.pid)
                if spared is None or spared not in title:
                    killed.append(title)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(entry.pid, signal.SIGKILL)
            self._wait_for_end(KILL_TIMEOUT_S if killed else 0, known=known)
        return tuple(killed)


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


def mapped_segments(pid: int) -> frozenset[str]:
    """Names in `/dev/shm` that the process has mapped now."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    paths = (
        line.split(maxsplit=5)[5]
        for line in lines
        if f" {SHM}/" in line and not line.endswith("(deleted)")
    )
    return frozenset(Path(path).name for path in paths)


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
        env={**os.environ, **launch.environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_harness,  # noqa: PLW1509  # one system call, no lock
    )
    return Server(name, process, log, port=port, started_ns=started_ns)


def _end_with_harness() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _living(known: tuple[ProcessEntry, ...], *, root_pid: int) -> tuple[ProcessEntry, ...]:
    """Processes of the tree that still run: those known before, and those that came since."""
    names = {(entry.pid, entry.started_ticks) for entry in known}
    table = tuple(process_table())
    current = {entry.pid for entry in table if entry.session_id == root_pid}
    return tuple(
        entry
        for entry in table
        if not entry.is_zombie
        and ((entry.pid, entry.started_ticks) in names or entry.pid in current)
    )


def _title(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
            .strip()[:120]
        )
    except OSError:
        return str(pid)


def _remove_segments(names: set[str]) -> tuple[str, ...]:
    """Remove the segments among `names` that still exist and that no living process has mapped."""
    left = {name for name in names if (SHM / name).exists()}
    if left:
        left -= {name for entry in process_table() for name in mapped_segments(entry.pid)}
    for name in left:
        (SHM / name).unlink(missing_ok=True)
    return tuple(sorted(left))
