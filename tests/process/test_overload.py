"""Three times more than a model can do: the accepted stay quick, the rest is refused at once."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

from bench.loading.open_loop import OpenLoad, run_open_loop
from bench.loading.v2_client import HttpRequest
from tests.fixtures.pace import full_or, within
from tests.fixtures.teller import ask, in_flight, teller_bytes
from tests.fixtures.waiting import wait_until

SECONDS = int(full_or(30, 3))
SERVICE_SECONDS = full_or(0.02, 0.1)  # so long that a slow machine, too, spends little else
NOISE_MS = within(5)
REFUSED_MS = within(50)
INSTANCES = 2
CAPACITY = INSTANCES / SERVICE_SECONDS
# Of a short run, one stall of the machine is some percent of the requests.
ACCEPTED, GOODPUT = full_or(0.99, 0.75), full_or(0.9, 0.6)
SLOWEST = full_or(99, 90)  # percentile
WAITING = 2
CROWD = 8
INSTANCES_ONLY = "instance_group [ { count: 2 } ]"
LIMIT = f"""
{INSTANCES_ONLY}
dynamic_batching {{ default_queue_policy {{ max_queue_size: {WAITING} }} }}
"""
WAYS = {
    "of the model": (LIMIT, []),
    "of the server": (INSTANCES_ONLY, ["--max-waiting-per-instance=1"]),
}
MODEL = f"""
import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            time.sleep({SERVICE_SECONDS})
            outputs = [pb_utils.Tensor(name, np.zeros(1, np.int64))
                       for name in ("PID", "VERSION", "VALUE")]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
"""
BODY = teller_bytes("m").partition(b"\r\n\r\n")[2]


class Seen(NamedTuple):
    """Of one phase; latencies in ms, from when each request was due."""

    good: np.ndarray
    refused: np.ndarray
    goodput: float
    statuses: set[int]

    def accepted(self) -> float:
        """Part of all; a machine with other work may refuse a few below its capacity."""
        return self.good.size / (self.good.size + self.refused.size)

    def slowest(self) -> float:
        return float(np.percentile(self.good, SLOWEST))


def offer(server, *, rate, seconds):
    request = HttpRequest(method="POST", path="/v2/models/m/infer", body=BODY)
    load = OpenLoad(connections=64, rate=rate, seconds=seconds)
    result = run_open_loop(request, load, port=server.port)
    latency, status = result.answers[:, 1] / 1e6, result.answers[:, 2]
    good = status == 200
    span = (result.answers[:, 0].max() - result.answers[:, 0].min()) / 1e9
    return Seen(latency[good], latency[~good], good.sum() / span, {int(one) for one in status})


@pytest.mark.timeout(SECONDS * 4 + 60)
@pytest.mark.parametrize("way", WAYS)
def test_three_times_the_capacity_costs_those_who_are_refused_alone(serve, repository, capsys, way):
    config, flags = WAYS[way]
    repository.add("teller", "m", config=config, files={"1/model.py": MODEL})
    server = serve(repository.path, flags=flags)
    usual = offer(server, rate=0.7 * CAPACITY, seconds=SECONDS)
    assert usual.accepted() > ACCEPTED
    flood = offer(server, rate=3 * CAPACITY, seconds=SECONDS)
    after = offer(server, rate=0.7 * CAPACITY, seconds=max(SECONDS // 3, 1))
    with capsys.disabled():
        for name, seen in (("usual", usual), ("flood", flood), ("after", after)):
            sys.stdout.write(f"{name}: p{SLOWEST} {seen.slowest():.1f} ms, {seen.goodput:.1f}/s; ")
        sys.stdout.write(f"refused in {np.percentile(flood.refused, SLOWEST):.1f} ms\n")
    assert flood.statuses == {200, 503}
    assert flood.slowest() <= 3 * usual.slowest() + NOISE_MS, (flood.slowest(), usual.slowest())
    assert flood.goodput >= GOODPUT * CAPACITY
    assert np.percentile(flood.refused, SLOWEST) <= REFUSED_MS
    assert np.median(flood.refused) <= REFUSED_MS / 3
    assert after.accepted() > ACCEPTED
    assert after.slowest() <= 1.5 * usual.slowest() + NOISE_MS, "it recovers at once"


def test_a_refusal_says_when_to_come_again(serve, repository):
    repository.add("teller", "m", config=LIMIT)
    server = serve(repository.path)
    with ThreadPoolExecutor(CROWD) as pool:
        with in_flight(server, "m"), in_flight(server, "m"):  # nobody is served meanwhile
            calls = [pool.submit(ask, server, "m") for _ in range(CROWD)]
            wait_until(lambda: sum(call.done() for call in calls) == CROWD - WAITING)
            refused = [call.result() for call in calls if call.done()]
        assert sorted(call.result().status for call in calls) == [200] * WAITING + [503] * len(
            refused
        )
    for one in refused:
        assert one.status == 503
        assert one.headers["retry-after"] == "1"
        assert one.json()["error"].endswith("Exceeds maximum queue size")
    assert 'request_failure{model="m",reason="REJECTED",version="1"} 0' not in server.metrics()
