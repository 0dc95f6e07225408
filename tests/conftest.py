"""Fixtures of all tests: nothing may be left behind, waits have deadlines, servers are real."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.fixtures.leftovers import descendants, end_tree, left_segments, segments
from tests.fixtures.pace import within
from tests.fixtures.repository import Repository
from tests.fixtures.server import Server
from tests.fixtures.service_manager import Manager
from tests.fixtures.waiting import wait_until

# Nothing depends on how fast the machine is.
ANY_PACE = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("dev", ANY_PACE, max_examples=50)
hypothesis.settings.register_profile(
    "ci", ANY_PACE, max_examples=1000, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile("soak", ANY_PACE, max_examples=50_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

LONG_BYTES = 16
LEFT_SECONDS = within(5)  # an ending child may need a moment until its parent has reaped it


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes by their argument: compressed ones have the time in them, and runs differ."""
    return argname if isinstance(val, bytes) and len(val) > LONG_BYTES else None


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail the test that leaves a process or a shared-memory segment of ours."""
    pids_before, segments_before = set(descendants()), segments()
    yield

    def leftovers() -> tuple[dict[int, str], frozenset[str]]:
        found = {pid: line for pid, line in descendants().items() if pid not in pids_before}
        return found, left_segments(segments_before)

    def is_clean() -> bool:
        return not any(leftovers())

    try:
        wait_until(is_clean, deadline=LEFT_SECONDS, what="processes and segments to be gone")
    except AssertionError:
        processes, names = leftovers()
        end_tree(list(processes))
        for name in names:
            Path("/dev/shm", name).unlink(missing_ok=True)
        pytest.fail(f"the test left processes {processes} and segments {sorted(names)}")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start `mpserve serve`; the test's end stops every server it started, in reverse order."""
    yield from _starter(Server.serve, tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start `mpserve start FOLDER`; as `serve`."""
    yield from _starter(Server.start, tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty model repository."""
    return Repository(tmp_path / "models")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens."""
    made = Manager(tmp_path)
    yield made
    made.close()


def _starter(launch: Callable[..., Server], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start_one(*paths: Path, **options: object) -> Server:
        options.setdefault("log_path", tmp_path / f"server-{len(servers)}.log")
        server = launch(*paths, **options)
        servers.append(server)
        return server

    yield start_one
    for server in reversed(servers):
        sys.stdout.write(server.log_text)  # pytest shows it when the test has failed
        server.__exit__(None, None, None)
