"""Many sequences while workers are killed, instances come and go, and models are reloaded.

Each client knows what its sequence must add up to and which process has it, so an answer to the
wrong sequence, or from another process, is seen at once. A sequence may fail only when its worker
was killed: a reload, or another number of instances, costs none.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import pytest

from tests.fixtures.closed_loop import infer_bytes
from tests.fixtures.pace import full_or, within
from tests.fixtures.sequencer import batching, step_request
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

SECONDS = full_or(60, 6)
CLIENTS = int(full_or(200, 60))
EVENT_SECONDS = full_or(10 / 3, 1)  # kills, changes and reloads take turns: a kill each 10 s
AT_ONCE_SECONDS = within(1)
ANSWER_SECONDS = within(15)
MAX_LENGTH = 12
MAX_PAUSE_SECONDS = 0.15
INSTANCES = 3
SLOTS = {"direct": 4, "oldest": 32}
EXPLICIT = ["--model-control-mode=explicit", "--load-model=*", "--frontends=2"]


class Kill(NamedTuple):
    """What excuses a failed sequence."""

    at: float
    until: float
    model: str
    pid: int


class Sequence:
    """One sequence of one client: what it has to be answered."""

    def __init__(self, model: str, number: int) -> None:
        self.model = model
        self.number = number
        self.sum = 0
        self.pid: int | None = None

    def check(self, value: int, answer: dict[str, Any]) -> None:
        """Compare a good answer with what has to come."""
        self.sum += value
        data = {output["name"]: output["data"][0] for output in answer["outputs"]}
        rows = json.loads(data["ROWS"])
        assert data["SUM"] == self.sum, f"sequence {self.number} got another's answer: {data}"
        assert self.number in [row["id"] for row in rows]
        ids = [row["id"] for row in rows if row["READY"]]
        assert len(ids) == len(set(ids)), f"a sequence has two rows: {rows}"
        assert self.pid in {None, data["PID"]}, "a sequence changed its worker"
        self.pid = data["PID"]

    def is_excused(self, sent: float, kills: list[Kill]) -> bool:
        """Tell whether it may have failed with a request sent at `sent`."""
        return any(self._excuses(one, sent) for one in kills if one.model == self.model)

    def _excuses(self, one: Kill, sent: float) -> bool:
        if self.pid is None:  # nobody has told yet which worker has it
            return one.until >= sent
        return self.pid == one.pid


class Soak:
    """All clients, and what is done to the server meanwhile."""

    def __init__(self, server: Server, *, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.numbers = count(1)
        self.kills: list[Kill] = []
        self.answered = Counter[int]()  # by status
        self.finished = 0
        self.slow_errors: list[float] = []
        self.ends_at = time.monotonic() + SECONDS

    async def run(self, disturb: Callable[["Soak"], None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for client in range(CLIENTS):
                model = "direct" if client % 2 else "oldest"
                tasks.create_task(self.be_client(model, random.Random(client)))
            tasks.create_task(asyncio.to_thread(disturb, self))

    async def be_client(self, model: str, rng: random.Random) -> None:
        async with connected(self.server) as send:
            while time.monotonic() < self.ends_at or self.finished <= CLIENTS:
                await self.play(Sequence(model, next(self.numbers)), send, rng)

    async def play(self, sequence: Sequence, send: Any, rng: random.Random) -> None:
        length = rng.randint(1, MAX_LENGTH)
        for number in range(length):
            value = rng.randrange(1 << 40)
            marks = {"start": number == 0, "end": number == length - 1}
            request = step_request(sequence.number, value, **marks)
            sent = time.monotonic()
            status, body = await send(infer_bytes(sequence.model, request))
            now = time.monotonic()
            self.answered[status] += 1
            self.note_slowness(sequence, sent, now)
            if status != 200:
                assert status in {400, 503}, (status, body)
                excused = sequence.is_excused(sent, self.kills)
                assert excused, f"sequence {sequence.number} failed for nothing: {body!r}"
                return
            sequence.check(value, json.loads(body))
            await asyncio.sleep(rng.uniform(0, MAX_PAUSE_SECONDS))
        self.finished += 1

    def note_slowness(self, sequence: Sequence, sent: float, now: float) -> None:
        """A request that was with a worker when it was killed is answered at once."""
        for one in self.kills:
            if one.pid == sequence.pid and sent < one.at:
                self.slow_errors.append(now - one.at)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Any]:
    """Give a function that sends one request and returns its status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def send(request: bytes) -> tuple[int, bytes]:
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split()[0])
            return int(head.split()[1]), await reader.readexactly(length)

    try:
        yield send
    finally:
        writer.close()
        await writer.wait_closed()


# --- what is done to the server -------------------------------------------------------------------


def kill(soak: Soak, model: str) -> None:
    worker = soak.random.choice(soak.server.processes_named(f"mps:{model}"))
    # Noted first: an answer may come before this thread goes on.
    at = time.monotonic()
    soak.kills.append(Kill(at, at + AT_ONCE_SECONDS, model, worker.pid))
    worker.kill()


def change_instances(soak: Soak, model: str) -> None:
    config = soak.server.get(f"/v2/models/{model}/config").json()
    group = config["instance_group"][0]
    group["count"] = INSTANCES if group["count"] != INSTANCES else INSTANCES - 1
    assert soak.server.load(model, config=json.dumps(config)).status == 200


def reload(soak: Soak, model: str, write: Callable[[str], None]) -> None:
    write(model)
    assert soak.server.load(model).status == 200


@pytest.mark.timeout(SECONDS + 120)
def test_no_sequence_is_mixed_or_lost_whatever_happens_to_workers(serve, repository):
    for model, strategy in (
        ("direct", "direct {}"),
        ("oldest", f"oldest {{ max_candidate_sequences: {SLOTS['oldest']} }}"),
    ):
        groups = f"instance_group {{ count: {INSTANCES} }} "
        repository.add("sequencer", model, config=groups + batching(strategy))
    server = serve(repository.path, flags=EXPLICIT)
    soak = Soak(server, seed=5)
    versions = count()

    def write(model: str) -> None:
        repository.write(f"{model}/1/other.py", f"version = {next(versions)}")

    def disturb(running: Soak) -> None:
        for turn in count():
            next_at = time.monotonic() + EVENT_SECONDS
            model = "direct" if turn % 2 else "oldest"
            if turn % 3 == 0:
                kill(running, model)
            elif turn % 3 == 1:
                change_instances(running, model)
            else:
                reload(running, model, write)
            if next_at >= running.ends_at:
                return
            time.sleep(max(next_at - time.monotonic(), 0))  # the pace of what is done

    asyncio.run(soak.run(disturb))
    print(f"{soak.finished} sequences, answers {dict(soak.answered)}, {len(soak.kills)} kills")  # noqa: T201  # for who reads the log of the run
    assert soak.finished > CLIENTS
    assert max(soak.slow_errors, default=0.0) < AT_ONCE_SECONDS
    assert soak.kills
    for model in SLOTS:
        check_that_no_slot_is_lost(server, model)


def check_that_no_slot_is_lost(server: Server, model: str) -> None:
    """Begin as many sequences as there are slots: none of them has to wait for another's end."""
    config = server.get(f"/v2/models/{model}/config").json()
    instances = config["instance_group"][0]["count"]
    wait_until(lambda: len(server.processes_named(f"mps:{model}")) == instances, what="all workers")
    held = range(1 << 20, (1 << 20) + instances * SLOTS[model])
    pids = Counter[int]()
    for number in held:
        answer = server.infer(model, step_request(number, start=True))
        assert answer.status == 200, answer
        outputs = {output["name"]: output["data"][0] for output in answer.json()["outputs"]}
        pids[outputs["PID"]] += 1
    assert dict(pids) == dict.fromkeys(pids, SLOTS[model])
    assert len(pids) == instances
    for number in held:
        assert server.infer(model, step_request(number, end=True)).status == 200
