"""Ten minutes at 70 % of what the server can do: nothing grows, the last minute is as the first.

Only in a full run; `make soak`.
"""

import os
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest

from bench.loading.open_loop import OpenLoad, run_open_loop
from bench.loading.v2_client import HttpRequest
from tests.fixtures.pace import IS_FULL, within
from tests.fixtures.teller import teller_bytes
from tests.fixtures.waiting import wait_until

SECONDS = int(os.environ.get("MPSERVE_TEST_SOAK_SECONDS", "600"))
PROBE_SECONDS = 3
PART = 0.7
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


def growth(looks, name):
    """Part by which a figure grows over the run as a line fits it, and the error of that."""
    at = np.array([one.at for one in looks])
    value = np.array([getattr(one, name) for one in looks], dtype=float)
    at, span = at - at.mean(), at[-1] - at[0]
    slope = (at @ value) / (at @ at)
    rest = value - value.mean() - slope * at
    error = np.sqrt((rest @ rest) / max(len(at) - 2, 1) / (at @ at))
    return slope * span / value.mean(), error * span / value.mean()


@pytest.mark.timeout(SECONDS + 200)
def test_under_load_for_long_nothing_grows(serve, repository, capsys):
    repository.add("teller", "m")
    server = serve(repository.path, flags=["--http-thread-count=8"])
    flood = load(server, 50_000, PROBE_SECONDS).load
    rate = PART * flood.requests_per_second
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
    p99 = [
        float(np.percentile(answers[(due >= at) & (due < at + SECONDS / 10), 1], 99) / 1e6)
        for at in np.arange(1, 10) * SECONDS / 10
    ]
    told = {name: growth(looks, name) for name in ("rss", "fds")}
    with capsys.disabled():
        sys.stdout.write(f"{rate:.0f}/s for {SECONDS} s: growth {told}, p99 in ms {p99}\n")
    for name, (part, error) in told.items():
        assert part < max(3 * error, 0.01), (name, part, error)
    first, last = np.median(p99[:4]), np.median(p99[-4:])
    assert last <= 1.2 * first + within(0.3), p99
