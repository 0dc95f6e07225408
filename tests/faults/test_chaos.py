"""Whatever happens, in any order: each failed request is explained, and nothing is left over."""

import contextlib
import os
import random
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.fixtures.closed_loop import (
    ANSWER_SECONDS,
    ClosedLoop,
    Outcome,
    infer_bytes,
    post_bytes,
)
from tests.fixtures.ensembles import add_ensemble, adding, request
from tests.fixtures.memory import pss_bytes
from tests.fixtures.pace import full_or, within
from tests.fixtures.scripted import script_body
from tests.fixtures.sequencer import batching, step_request
from tests.fixtures.teller import ask, tell, teller_bytes
from tests.fixtures.waiting import wait_until

SECONDS = float(os.environ.get("MPSERVE_TEST_CHAOS_SECONDS", full_or(600, 14)))
PAUSE_SECONDS = full_or(2, 1)
RECOVERY_SECONDS = within(3)  # a fault explains what begins so long after it
FLAGS = ["--model-control-mode=explicit", "--load-model=*", "--frontends=2", "--log-format=json"]
LARGE = {
    "inputs": [{"name": "INPUT0", "shape": [20_000], "datatype": "FP32", "data": [0.5] * 20_000}]
}
NARROW = "dynamic_batching { default_queue_policy { max_queue_size: 2 } }"
PARTS = 5  # of a decoupled answer
CROWD = 8  # more than the narrow queue takes
SUPERVISOR = "mps supervisor"
ARENA = re.compile(r"-a\d+\.\d+\.")
PSS_FACTOR = full_or(1.02, 1.1)  # a short run ends before Python's allocators have settled
BLS = "return call('called', 'return 7')"
NEEDS = {
    "small": {"small"},
    "large": {"large"},
    "pair": {"pair"},
    "sum": {"first", "second"},
    "caller": {"caller", "called"},
    "whole": {"whole"},
    "parts": {"parts"},
    "narrow": {"narrow"},
}
"""Loop -> models whose workers' deaths it feels."""


class Fault(NamedTuple):
    """`models` feel it; `None` for all."""

    at: float
    kind: str
    models: set[str] | None


class Inventory(NamedTuple):
    """What a server has."""

    processes: int
    segments: frozenset[str]
    fds: int
    threads: int
    pss: int


def descriptors(process: psutil.Process) -> int:
    """Return how many are open, but for mapped arenas: whose answers came last is chance."""
    folder = Path(f"/proc/{process.pid}/fd")
    targets = [str(path.readlink()) for path in folder.iterdir() if path.is_symlink()]
    return sum(not target.startswith("/dev/shm") for target in targets)


def inventory(server) -> Inventory:
    processes = server.lasting_processes()
    return Inventory(
        len(processes),
        server.segments(),
        sum(descriptors(process) for process in processes),
        sum(process.num_threads() for process in processes),
        pss_bytes(processes),
    )


def renewed_inventory(server, loads: dict[str, ClosedLoop], count: int) -> Inventory:
    """Let every process but the root be a new one, then see what there is while all answer.

    Processes share memory with the spawner that forked them, so only equally old ones compare.

    Parameters
    ----------
    count
        How many processes there are when nothing comes and goes.
    """
    for titles in (("mpserve spawner",), (SUPERVISOR,)):
        kill_and_wait(server, titles, count)
    old = [
        process
        for process in server.processes()
        if Path(f"/proc/{process.pid}/comm").read_text().startswith(("mps:", "mps frontend"))
    ]
    arenas = {name for name in server.segments() if ARENA.search(name)}
    for process in old:
        process.kill()
    wait_until(lambda: not any(process.is_running() for process in old))
    for load in loads.values():
        load.wait_answered(by_each=10)
    wait_until(lambda: not arenas & server.segments(), what="the arenas of the dead to go")
    seen: list[Inventory] = []

    def is_settled() -> bool:
        seen.append(inventory(server))
        return seen[-1].processes == count and seen[-2:][0][:4] == seen[-1][:4] and len(seen) > 1

    wait_until(is_settled, deadline=within(15), what="an inventory that stays")
    return seen[-1]


def fitting(after: Inventory, settled: Inventory) -> Inventory:
    """Return the second inventory; fail when something is left over."""
    assert after.processes == settled.processes, (after, settled)
    assert after.fds <= settled.fds * 1.02, (after, settled)
    assert after.threads <= settled.threads * 1.02, (after, settled)
    assert len(after.segments) <= len(settled.segments) + 2, (  # arenas that grew
        sorted(after.segments - settled.segments),
        sorted(settled.segments - after.segments),
    )
    assert after.pss <= settled.pss * PSS_FACTOR, (after, settled)
    return after


def kill_and_wait(server, titles: tuple[str, ...], count: int) -> None:
    for title in titles:
        process = server.process_named(title)
        process.kill()
        process.wait(10)
    wait_until(
        lambda: len(server.lasting_processes()) == count,
        deadline=within(10),
        what=f"{count} processes after the death of {', '.join(titles)}",
    )


class Chaos:
    """Does one random thing after the other, and notes what it did."""

    def __init__(self, server, repository, seed: int) -> None:
        self._server = server
        self._repository = repository
        self._dice = random.Random(seed)
        self.faults: list[Fault] = []
        self.was_full = False
        self._deeds: list[Callable[[], None]] = [
            self._kill_worker,
            lambda: self._kill(SUPERVISOR, set()),
            lambda: self._kill("mpserve spawner", set()),
            lambda: self._kill(f"mps frontend {self._dice.randrange(2)}", None),
            self._stop_for_a_moment,
            self._reload,
            self._come_and_go,
            self._break,
            self._vanish,
            self._crowd,
            self._reread,
        ]

    def act(self) -> None:
        self._dice.choice(self._deeds)()

    def _note(self, kind: str, models: set[str] | None) -> None:
        self.faults.append(Fault(time.monotonic(), kind, models))

    def _kill(self, title: str, models: set[str] | None) -> None:
        found = self._server.processes_named(title)
        if found:
            self._note(f"kill {title}", models)
            with contextlib.suppress(psutil.Error):
                self._dice.choice(found).kill()

    def _kill_worker(self) -> None:
        model = self._dice.choice(sorted(set().union(*NEEDS.values())))
        self._kill(f"mps:{model}", {model})

    def _stop_for_a_moment(self) -> None:
        with contextlib.suppress(psutil.Error):
            process = self._dice.choice(self._server.processes())
            process.suspend()
            time.sleep(self._dice.uniform(0, 0.3))  # so long it stands still
            process.resume()

    def _reload(self) -> None:
        model = self._dice.choice(["small", "large", "first", "called"])
        self._repository.write(f"{model}/1/touched", str(self._dice.random()))
        self._controlled(lambda: self._server.load(model).status)

    def _come_and_go(self) -> None:
        self._controlled(lambda: self._server.unload("extra").status)
        self._controlled(lambda: self._server.load("extra").status)

    def _break(self) -> None:
        self._repository.write("extra/1/model.py", "raise ValueError('broken on purpose')\n")
        self._controlled(lambda: self._server.load("extra").status)
        self._repository.add("teller", "extra")

    def _vanish(self) -> None:
        with contextlib.suppress(OSError):
            half = socket.create_connection(("127.0.0.1", self._server.port), timeout=5)
            half.sendall(teller_bytes("small")[: self._dice.randrange(1, 80)])
            half.close()

    def _crowd(self) -> None:
        """More come at once than the queue takes: some are refused, nobody hangs."""
        self._note("full queue", {"narrow"})

        def come(_: int) -> int:
            with contextlib.suppress(OSError):
                return ask(self._server, "narrow", seconds=0.1).status
            return 0

        with ThreadPoolExecutor(CROWD) as pool:
            seen = set(pool.map(come, range(CROWD)))
        assert seen <= {0, 200, 500, 503}, seen
        self.was_full |= 503 in seen
        self._note("full queue", {"narrow"})

    def _reread(self) -> None:
        """Settings are read again, and are what they were: nobody feels it."""
        self._server.process.send_signal(signal.SIGHUP)

    def _controlled(self, call: Callable[[], int]) -> None:
        """A call that meets a dying frontend may fail, never hang."""
        with contextlib.suppress(OSError):
            assert call() in {200, 400, 503}


def is_explained(outcome: Outcome, needs: set[str], faults: list[Fault]) -> bool:
    end = outcome.begun + outcome.seconds
    return any(
        outcome.begun - RECOVERY_SECONDS <= fault.at <= end
        and (fault.models is None or fault.models & needs)
        for fault in faults
    )


def failures(name: str, load: ClosedLoop) -> list[Outcome]:
    """Return what was not answered well; the error of a stream comes after its status."""
    if name != "parts":
        return load.failed
    last = f'"OUT":{PARTS - 1}'.encode()
    return [one for one in load.outcomes if one.status != 200 or last not in one.body]


def successes(server, model: str) -> int:
    line = f'nv_inference_request_success{{model="{model}",version="1"}} '
    values = [row for row in server.metrics().splitlines() if row.startswith(line)]
    return int(float(values[0].removeprefix(line)))


def fill(repository) -> None:
    for name in ("small", "extra"):
        repository.add("teller", name)
    repository.add("identity", "large")
    repository.add("teller", "pair", config="instance_group [ { count: 2 } ]")
    for name in ("first", "second"):
        repository.add("adder", name)
    add_ensemble(repository, "sum", adding("first", "X", "M"), adding("second", "M", "Y"))
    repository.add("teller", "narrow", config=NARROW)
    repository.add("sequencer", "whole", config=batching())
    repository.add("counting", "parts")
    for name in ("caller", "called"):
        repository.add("scripted", name)


def tell_figures(
    seen: dict[str, list[Outcome]],
    failed: dict[str, list[Outcome]],
    faults: list[Fault],
    settled: Inventory,
    after: Inventory,
) -> None:
    """Print what came of it; shown by `make chaos`, and when the test fails."""
    for name, outcomes in seen.items():
        longest = max(one.seconds for one in outcomes)
        sys.stdout.write(
            f"{name}: {len(outcomes)} requests, {len(failed[name])} failed, "
            f"longest {longest:.2f} s\n"
        )
    kinds = Counter(fault.kind for fault in faults)
    sys.stdout.write(f"{len(faults)} faults that may be felt: {dict(kinds)}\n")
    for when, one in (("before", settled), ("after", after)):
        sys.stdout.write(
            f"{when}: {one.processes} processes, {len(one.segments)} segments, {one.fds} fds, "
            f"{one.threads} threads, PSS {one.pss / (1 << 20):.1f} MiB\n"
        )


@pytest.mark.timeout(SECONDS * 3 + 200)
def test_every_failure_is_explained_and_nothing_is_left_over(serve, repository):
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")  # shown when the test fails
    fill(repository)
    server = serve(repository.path, flags=FLAGS)
    bodies = {
        "small": teller_bytes("small"),
        "large": infer_bytes("large", LARGE),
        "pair": teller_bytes("pair"),
        "sum": infer_bytes("sum", request(1.0)),
        "caller": infer_bytes("caller", script_body(BLS)),
        "whole": infer_bytes("whole", step_request(7, start=True, end=True)),  # a sequence each
        "parts": post_bytes("/v2/models/parts/generate_stream", {"IN": [PARTS]}),
        "narrow": teller_bytes("narrow"),
    }
    loads = {
        name: ClosedLoop(server, body, clients=1, keep=lambda body: body[-200:])
        for name, body in bodies.items()
    }
    chaos = Chaos(server, repository, seed)
    with contextlib.ExitStack() as running:
        for load in loads.values():
            running.enter_context(load)
        for load in loads.values():
            load.wait_answered(by_each=20)
        wait_until(lambda: "server.ready" in server.log_text)
        count = len(server.lasting_processes())
        settled = renewed_inventory(server, loads, count)
        begun = time.monotonic()
        end = begun + SECONDS
        while time.monotonic() < end:
            chaos.act()
            load.run_for(PAUSE_SECONDS)
        wait_until(lambda: server.load("extra").status == 200, what="the last load")
        faults = list(chaos.faults)
        ended = time.monotonic()
        renewed_inventory(server, loads, count)
        after = wait_until(
            lambda: fitting(inventory(server), settled),
            deadline=within(15),
            what="no more than before",  # what leaks does not go again
        )

    def meanwhile(outcomes: list[Outcome]) -> list[Outcome]:
        return [one for one in outcomes if begun <= one.begun < ended]

    failed = {name: meanwhile(failures(name, load)) for name, load in loads.items()}
    unexplained = {
        name: [one for one in outcomes if not is_explained(one, NEEDS[name], faults)]
        for name, outcomes in failed.items()
    }
    seen = {name: meanwhile(load.outcomes) for name, load in loads.items()}
    tell_figures(seen, failed, faults, settled, after)
    assert not any(unexplained.values()), (unexplained, faults)
    for name, load in loads.items():
        assert max(one.seconds for one in load.outcomes) < ANSWER_SECONDS, f"{name}: a hang"
        good = len(load.outcomes) - len(failures(name, load))
        wait_until(lambda name=name, good=good: successes(server, name) >= good, what=name)
    assert tell(server, "extra").version == 1
