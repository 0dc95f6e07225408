"""Blocks that are lent to a process when it is killed come back, on both sides."""

import random
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.binary_tensor import binary_bytes
from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import full_or, within
from tests.fixtures.waiting import wait_until

MEBIBYTE = 1 << 20
SIZES = (MEBIBYTE, 200 << 10)  # with a segment of its own, and cut from a slab
CLIENTS = 8
ROOM = 3 * CLIENTS  # tensors that an arena can have: a few lost blocks more would show
KILLS = int(full_or(7, 5))  # one more death within a minute, and it would be given up
SEED = 20240229
UNCHANGED = b"as it was sent"
AT_REST = 12 * MEBIBYTE  # four processes with an arena of one or two each, queues and rings


def shared_bytes(server) -> int:
    return sum(Path(path).stat().st_size for path in server.segments())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("victim", ["mps frontend 0", "mps:m"])
def test_killed_processes_take_no_block_with_them(serve, repository, victim, size):
    tensor = np.arange(size // 4, dtype=np.float32)

    def verdict(body: bytes) -> bytes:
        return UNCHANGED if body.endswith(tensor.tobytes()) else body[:200]

    repository.add("identity", "m", config="instance_group [ { count: 2 kind: KIND_CPU } ]")
    server = serve(repository.path, flags=[f"--arena-max-bytes={ROOM * size}", "--frontends=2"])
    moment = random.Random(SEED)
    with ClosedLoop(server, binary_bytes("m", tensor), clients=CLIENTS, keep=verdict) as load:
        for _ in range(KILLS):
            load.wait_answered(deadline=within(10))
            load.run_for(moment.random() / 20)
            for process in server.processes_named(victim)[:1]:
                process.kill()
                last = process
        wait_until(lambda: not last.is_running(), what="the last one to end")
        load.wait_answered(by_each=2, deadline=within(10))  # the first may have come before
        failures = len(load.failed)
        load.wait_answered(by_each=20)
        assert len(load.failed) == failures, load.failed[-1]
    assert {outcome.status for outcome in load.failed} <= {0, 503}
    assert {outcome.body for outcome in load.outcomes if outcome.status == 200} == {UNCHANGED}
    wait_until(
        lambda: shared_bytes(server) < AT_REST,
        deadline=within(10),
        what="arenas to shrink and those of the dead to be removed",
    )
