"""Load and unload calls from many clients at once: each is answered, the last wish is what is."""

import base64
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import full_or, within
from tests.fixtures.repository import TEMPLATES
from tests.fixtures.server import ANSWER_SECONDS
from tests.fixtures.teller import ask, held_load, tell, teller_bytes, teller_config
from tests.fixtures.waiting import wait_until

CALLERS = 32
SECONDS = full_or(20, 4)
EXPLICIT = "--model-control-mode=explicit"
SEED = 20240229
FILE_CALLERS = 8
FILE_CALLS = int(full_or(400, 64))


class Callers:
    """Threads that load and unload models at random."""

    def __init__(self, server, names: list[str]) -> None:
        self._server = server
        self._names = names
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(index,), daemon=True)
            for index in range(CALLERS)
        ]
        self.answers: list[tuple[str, int, bytes]] = []
        self.errors: list[Exception] = []

    def run_for(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in self._threads:
            thread.join(within(20))
        assert not any(thread.is_alive() for thread in self._threads), "a call was not answered"

    def _run(self, index: int) -> None:
        choice = random.Random(SEED + index)
        while not self._stop.is_set():
            name = choice.choice(self._names)
            call = choice.choice([self._server.load, self._server.unload])
            try:
                answer = call(name)
            except OSError as error:
                self.errors.append(error)
                return
            self.answers.append((call.__name__, answer.status, answer.body))


def ready(server) -> set[str]:
    return {row["name"] for row in server.index() if row.get("state") == "READY"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]], ids=["one model", "three models"])
def test_every_call_is_answered_and_the_last_one_counts(serve, repository, names):
    for name in (*names, "other"):
        repository.add("teller", name)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=other"])
    before = tell(server, "other")
    callers = Callers(server, names)
    with ClosedLoop(server, teller_bytes("other"), clients=1) as load:
        callers.run_for(SECONDS)
    assert callers.errors == []
    assert {(call, status) for call, status, _ in callers.answers} == {
        ("load", 200),
        ("unload", 200),
    }
    assert load.failed == []

    for name in names:
        assert server.load(name).status == 200
        assert tell(server, name).version == 1
        assert server.get(f"/v2/models/{name}/ready").status == 200
    assert ready(server) == {*names, "other"}
    for name in names:
        assert server.unload(name).status == 200
        assert ask(server, name).status == 404
    assert ready(server) == {"other"}
    wait_until(
        lambda: not any(server.processes_named(f"mps:{name}") for name in names),
        what="all workers to end",
    )
    assert tell(server, "other") == before


@pytest.mark.timeout(180)
def test_inference_during_random_calls_is_answered_with_what_is(serve, repository):
    """A request either meets the model or is refused as unavailable; nothing else ever."""
    repository.add("teller", "a")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=a"])
    callers = Callers(server, ["a"])
    with ClosedLoop(server, teller_bytes("a"), clients=4) as load:
        callers.run_for(SECONDS / 2)
    assert callers.errors == []
    outcomes = load.outcomes
    assert {outcome.status for outcome in outcomes} <= {200, 404, 503}
    for outcome in outcomes:
        if outcome.status != 200:
            assert b'{"error":"' in outcome.body
    assert max(outcome.seconds for outcome in outcomes) < 10
    assert server.load("a").status == 200
    assert tell(server, "a").version == 1


def test_equal_loads_at_once_load_once(serve, repository):
    repository.add("teller", "a", parameters={"load_seconds": "-1"})
    server = serve(repository.path, flags=[EXPLICIT, "--log-format=json"])
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(server.load("a").status)) for _ in range(8)
    ]
    with held_load(server, "a"):
        for thread in threads:
            thread.start()
        wait_until(lambda: server.events("version.loading", model="a"), what="the load to begin")
        assert statuses == []
    for thread in threads:
        thread.join(ANSWER_SECONDS)
    assert statuses == [200] * 8
    assert len(server.events("version.loading", model="a")) == 1


def test_an_unload_during_a_load_waits_and_wins(serve, repository):
    repository.add("teller", "a", parameters={"load_seconds": "1"})
    server = serve(repository.path, flags=[EXPLICIT, "--log-format=json"])
    loaded: list[int] = []
    loading = threading.Thread(target=lambda: loaded.append(server.load("a").status))
    loading.start()
    wait_until(lambda: server.events("version.loading", model="a"), what="the load to begin")
    assert server.unload("a").status == 200
    loading.join(ANSWER_SECONDS)
    assert loaded == [200]
    assert ready(server) == set()
    assert ask(server, "a").status == 404


@pytest.mark.timeout(180)
def test_files_of_calls_at_once_are_not_taken_from_each_other(serve, repository, tmp_path):
    """One call tidies up while another has written its files and not begun to load them."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    server = serve(repository.path, flags=[EXPLICIT], environment={"TMPDIR": str(temporary)})
    code = base64.b64encode((TEMPLATES / "teller/1/model.py").read_bytes()).decode()

    def load(number: int) -> bytes:
        name = f"m{number % FILE_CALLERS}"
        answer = server.load(name, config=teller_config(), **{"file:1/model.py": code})
        return b"" if answer.status == 200 else answer.body

    with ThreadPoolExecutor(FILE_CALLERS) as callers:
        assert set(callers.map(load, range(FILE_CALLS))) == {b""}
    for index in range(FILE_CALLERS):
        assert tell(server, f"m{index}").version == 1
        assert server.unload(f"m{index}").status == 200
    wait_until(lambda: len(list(temporary.glob("*/*"))) <= 1, what="the files to be removed")
