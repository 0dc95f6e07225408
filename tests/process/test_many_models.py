"""A large repository: a start that does not look at it, an index and a scan that stay cheap.

Memory is what the server's processes have more after the loads than before, shared pages once.
"""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpserve.repository import ScanOptions, scan
from tests.fixtures.memory import pss_bytes
from tests.fixtures.pace import full_or, within
from tests.fixtures.server import ANSWER_SECONDS

MODELS = int(full_or(1000, 200))
LOADED = int(full_or(200, 10))
EXPLICIT = ["--model-control-mode=explicit"]
START_SECONDS = within(2)
INDEX_SECONDS = within(0.05)
INDEX_DURING_LOADS_SECONDS = within(0.1)
WORKER_BYTES = int(full_or(8, 16)) << 20  # few workers do not share what they have in common
POLL_SECONDS, POLL_SHARE = 15, 0.02  # of one core
ASKED = 20


@pytest.fixture
def many(repository):
    """A repository of trivial models."""
    for number in range(MODELS):
        repository.add("identity", f"m{number}")
    return repository


def index_seconds(server) -> float:
    begun = time.monotonic()
    assert len(server.index()) == MODELS
    return time.monotonic() - begun


class IndexWatch:
    """Asks for the index again and again while a `with` block runs."""

    def __init__(self, server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            self.seconds.append(index_seconds(self._server))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(ANSWER_SECONDS)
        assert not self._thread.is_alive(), "an index call was not answered"


@pytest.mark.timeout(300)
def test_a_large_repository_costs_a_start_and_an_index_little(serve, many):
    begun = time.monotonic()
    server = serve(many.path, flags=EXPLICIT)
    assert time.monotonic() - begun < START_SECONDS
    seconds = [index_seconds(server) for _ in range(ASKED)]
    assert statistics.median(seconds) < INDEX_SECONDS, seconds


@pytest.mark.timeout(300)
def test_many_loads_at_once_hold_up_no_index(serve, many):
    server = serve(many.path, flags=EXPLICIT)
    index_seconds(server)
    before = pss_bytes(server.processes())
    names = [f"m{number}" for number in range(LOADED)]
    with IndexWatch(server) as watch, ThreadPoolExecutor(LOADED) as callers:
        assert {answer.status for answer in callers.map(server.load, names)} == {200}
    p99 = statistics.quantiles(watch.seconds, n=100)[98]
    assert p99 < INDEX_DURING_LOADS_SECONDS, sorted(watch.seconds)
    each = (pss_bytes(server.processes()) - before) / LOADED
    assert each < WORKER_BYTES


def test_a_scan_that_finds_nothing_new_costs_little(many):
    roots = [str(many.path)]
    first = scan(roots, None, ScanOptions())
    assert len(first.definitions) == MODELS
    costs = []
    for _ in range(5):
        begun = time.process_time()
        again = scan(roots, first, ScanOptions())
        costs.append(time.process_time() - begun)
        assert again == first
    assert min(costs) < POLL_SHARE * POLL_SECONDS
