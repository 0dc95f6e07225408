"""Ten minutes at 70 % of what the server can do: nothing grows, the last minute is as the first.

Only in a full run; `make soak`.
"""

import itertools
import os
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest

from bench.loading.open_loop import OpenLoad, run_open_loop
from bench.loading.v2_client import HttpRequest
from tests.fixtures.pace import IS_FULL
from tests.fixtures.teller import teller_bytes
from tests.fixtures.trend import trend
from tests.fixtures.waiting import wait_until

SECONDS = int(os.environ.get("MPSERVE_TEST_SOAK_SECONDS", "600"))
FLOOD = 50_000.0
SETTLE_SECONDS = 5  # caches, arenas and interpreters are warm by then
PROBE_SECONDS = int(min(10, SECONDS / 6))
PART = 0.7
WINDOWS = 36  # of p99
NO_ACCOUNT = {"rss": 0.005, "fds": 0.0, "p99": 0.2}
"""Growth in the whole run that nobody would feel; other work on the machine moves p99."""
WARM_SECONDS = SECONDS * 0.2  # allocators and arenas have their size by then
LOOK_SECONDS = 1.0
REQUEST = HttpRequest(
    method="POST", path="/v2/models/m/infer", body=teller_bytes("m").partition(b"\r\n\r\n")[2]
)

pytestmark = pytest.mark.skipif(not IS_FULL, reason="takes ten minutes: make soak")


class Seen(NamedTuple):
    """One look at all processes of the server."""

    at: float
    rss: int
    fds: int


def load(server, rate, seconds):
    wanted = OpenLoad(connections=32, rate=rate, seconds=seconds)
    return run_open_loop(REQUEST, wanted, port=server.port)


def look(server):
    processes = server.processes()
    return Seen(
        time.monotonic(),
        sum(one.memory_info().rss for one in processes),
        sum(one.num_fds() for one in processes),
    )


@pytest.mark.timeout(SECONDS + 200)
def test_under_load_for_long_nothing_grows(serve, repository, capsys):
    repository.add("teller", "m")
    server = serve(repository.path, flags=["--http-thread-count=8"])
    load(server, FLOOD, SETTLE_SECONDS)
    rate = PART * load(server, FLOOD, PROBE_SECONDS).load.requests_per_second
    wait_until(lambda: server.request("GET", "/v2/health/ready").status == 200)
    results = []
    worker = threading.Thread(target=lambda: results.append(load(server, rate, SECONDS)))
    begun = time.monotonic()
    worker.start()
    looks = []
    while worker.is_alive():
        if WARM_SECONDS < time.monotonic() - begun < SECONDS:
            looks.append(look(server))
        worker.join(LOOK_SECONDS)
    (result,) = results
    answers = result.answers
    assert (answers[:, 2] == 200).all()
    due = (answers[:, 0] - answers[0, 0]) / 1e9
    edges = np.linspace(0.1, 1, WINDOWS + 1) * SECONDS
    p99 = [
        float(np.percentile(answers[(due >= begin) & (due < end), 1], 99) / 1e6)
        for begin, end in itertools.pairwise(edges)
    ]
    at = [one.at for one in looks]
    trends = {name: trend(at, [getattr(one, name) for one in looks]) for name in ("rss", "fds")}
    trends["p99"] = trend(edges[:-1], p99)
    with capsys.disabled():
        for name, seen in trends.items():
            sys.stdout.write(f"{name}: {100 * seen.growth:+.3f} %, t {seen.t:+.1f}; ")
        sys.stdout.write(f"{rate:.0f}/s for {SECONDS} s, p99 {np.round(p99[::4], 2)} ms\n")
    for name, seen in trends.items():
        assert not seen.grows(more_than=NO_ACCOUNT[name]), (name, seen)
