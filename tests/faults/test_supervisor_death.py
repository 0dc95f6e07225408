"""SIGKILL of the supervisor: the next one takes over the living, and nobody loses a request."""

import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.fixtures.closed_loop import ClosedLoop, infer_bytes
from tests.fixtures.ensembles import add_ensemble, adding, request
from tests.fixtures.pace import full_or, within
from tests.fixtures.scripted import run_script, script_body
from tests.fixtures.sequencer import batching, step
from tests.fixtures.server import ANSWER_SECONDS
from tests.fixtures.teller import held_load, in_flight, tell, teller_bytes
from tests.fixtures.waiting import wait_until

TITLE = "mps supervisor"
BACK_SECONDS = within(1)
LIFE_SECONDS = full_or(1.2, 0.0)
CALL = "return call('called', 'return 7')"
EXPLICIT = ["--model-control-mode=explicit", "--load-model=m", "--log-format=json"]


def kill_supervisor(server) -> None:
    """Kill it; the root gives up one that dies 20 times in 15 s, so its next life is let last."""
    supervisor = server.process_named(TITLE)
    wait_until(lambda: time.time() - supervisor.create_time() > LIFE_SECONDS)
    supervisor.kill()
    supervisor.wait(10)


def names(server) -> dict[str, str]:
    return {row["name"]: row.get("state", "") for row in server.index()}


def test_under_load_no_request_fails_and_no_model_is_loaded_anew(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[*EXPLICIT, "--frontends=2"])
    wait_until(lambda: server.events("server.ready"), what="both frontends to be there")
    before = tell(server, "m")
    pids = {process.pid for process in server.lasting_processes()}
    with ClosedLoop(server, teller_bytes("m"), clients=4) as load:
        for _ in range(4):
            load.wait_answered(by_each=5)
            kill_supervisor(server)
            load.wait_answered(by_each=5)
            wait_until(lambda: names(server) == {"m": "READY"}, deadline=BACK_SECONDS)
    assert load.failed == []
    assert tell(server, "m") == before
    wait_until(lambda: len({process.pid for process in server.lasting_processes()} - pids) == 1)
    assert len(server.events("version.loading")) == 1


def test_the_repository_api_is_as_before(serve, repository):
    repository.add("teller", "m")
    repository.add("teller", "n")
    repository.add_faulty("broken", place="initialize", fault="raise")
    server = serve(repository.path, flags=EXPLICIT)
    assert server.load("broken").status == 400
    before = server.index()
    events = server.get("/v2/repository/events").json()
    kill_supervisor(server)
    assert server.index() == before
    assert server.get("/v2/repository/events").json() == events
    assert server.load("n").status == 200
    assert tell(server, "n").version == 1
    kill_supervisor(server)
    assert server.unload("n").status == 200
    assert server.unload("m").status == 200
    wait_until(lambda: not server.processes_named("mps:m"), what="the worker to end")
    assert names(server) == {"m": "UNAVAILABLE", "n": "UNAVAILABLE", "broken": "UNAVAILABLE"}


def test_an_override_stays_in_force(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    config = server.get("/v2/models/m/config").json()
    changed = json.dumps({**config, "parameters": {"note": {"string_value": "changed"}}})
    assert server.load("m", config=changed).status == 200
    before = tell(server, "m")
    kill_supervisor(server)
    assert server.load("m").status == 200
    assert tell(server, "m") == before
    config = server.get("/v2/models/m/config").json()
    assert config["parameters"]["note"]["string_value"] == "changed"


def test_sequences_go_on_where_they_began(serve, repository):
    """Also those in a generation that was replaced before."""
    repository.add("sequencer", "m", config=batching())
    server = serve(repository.path, flags=EXPLICIT)
    old = step(server, "m", 1, start=True).pid
    repository.write("m/1/other.py", "")
    assert server.load("m").status == 200
    new = step(server, "m", 2, start=True).pid
    kill_supervisor(server)
    assert names(server) == {"m": "READY"}
    assert [step(server, "m", sequence).pid for sequence in (1, 2)] == [old, new]
    assert [step(server, "m", sequence, end=True).sum for sequence in (1, 2)] == [3, 3]
    wait_until(
        lambda: [one.pid for one in server.processes_named("mps:m")] == [new],
        what="the old worker to end",
    )


def test_a_load_that_is_under_way_goes_on(serve, repository):
    """The call of the client is answered, and the model is loaded once."""
    repository.add("teller", "m")
    repository.add("teller", "slow", parameters={"load_seconds": "-1"})
    server = serve(repository.path, flags=EXPLICIT)
    statuses: list[int] = []
    call = threading.Thread(target=lambda: statuses.append(server.load("slow").status))
    with held_load(server, "slow"):
        call.start()
        worker = server.process_named("mps:slow")
        kill_supervisor(server)
    call.join(ANSWER_SECONDS)
    assert statuses == [200]
    assert server.process_named("mps:slow").pid == worker.pid


def test_models_that_call_models_and_ensembles_go_on(serve, repository):
    for name in ("caller", "called"):
        repository.add("scripted", name)
    repository.add("adder", "add_one")
    add_ensemble(repository, "sum", adding("add_one", "X", "Y"))
    server = serve(
        repository.path,
        flags=["--model-control-mode=explicit", "--load-model=*", "--log-format=json"],
    )
    assert run_script(server, "caller", CALL) == 7
    caller = infer_bytes("caller", script_body(CALL))
    ensemble = infer_bytes("sum", request(1.0))
    with (
        ClosedLoop(server, caller, clients=2) as calls,
        ClosedLoop(server, ensemble, clients=1) as sums,
    ):
        for _ in range(2):
            for load in (calls, sums):
                load.wait_answered(by_each=2)
            kill_supervisor(server)
            repository.write("called/1/touched", "")
            assert server.load("called").status == 200  # the caller is told the new table
    assert calls.failed == []
    assert sums.failed == []
    assert len(server.processes_named("mps:caller")) == 1


def test_a_worker_that_dies_while_there_is_no_supervisor_is_replaced(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    worker = server.process_named("mps:m")
    root = server.process_named("mpserve")
    root.suspend()  # no supervisor is started meanwhile
    server.process_named(TITLE).kill()
    worker.kill()
    root.resume()
    wait_until(lambda: tell(server, "m").pid != worker.pid, deadline=within(5))
    (ended,) = server.events("worker.ended")
    assert ended["signal"] == signal.SIGKILL


def test_all_that_may_die_at_once_may_die(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[*EXPLICIT, "--frontends=2"])
    wait_until(lambda: "server.ready" in server.log_text)
    count = len(server.lasting_processes())
    for _ in range(full_or(6, 3)):  # with more, the model is given up
        for title in (TITLE, "mpserve spawner", "mps:m", "mps frontend 0", "mps frontend 1"):
            server.process_named(title).kill()
        wait_until(lambda: tell(server, "m").version == 1, deadline=within(10))
        wait_until(
            lambda: len(server.lasting_processes()) == count,
            deadline=within(10),
            what="each to be there once",
        )
        for index in range(2):
            assert server.process_named(f"mps frontend {index}")
    assert names(server) == {"m": "READY"}


def test_sigterm_reaches_the_next_supervisor(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    with in_flight(server, "m") as running:
        server.process.terminate()
        wait_until(lambda: "server.stopping" in server.log_text)
        kill_supervisor(server)
        running.let_go()
        assert running.result.status == 200
    assert server.wait_exit() == 0


def test_a_supervisor_that_hangs_is_replaced(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    before = tell(server, "m")
    hung = server.process_named(TITLE)
    hung.suspend()
    wait_until(lambda: not hung.is_running(), deadline=within(15), what="it to be killed")
    assert names(server) == {"m": "READY"}
    assert tell(server, "m") == before


def test_counters_go_on(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    line = 'nv_inference_request_success{model="m",version="1"} 2'
    tell(server, "m")
    kill_supervisor(server)
    tell(server, "m")
    wait_until(lambda: line in server.metrics(), what=line)


def test_polling_goes_on(serve, repository):
    repository.add("teller", "m")
    server = serve(
        repository.path,
        flags=["--model-control-mode=poll", "--repository-poll-secs=1", "--log-format=json"],
    )
    before = tell(server, "m")
    kill_supervisor(server)
    repository.add("teller", "later")
    wait_until(lambda: names(server).get("later") == "READY", deadline=within(10))
    assert tell(server, "m") == before
    repository.remove("m")
    wait_until(lambda: "m" not in names(server), deadline=within(10))


def test_killed_at_any_moment_of_loads_and_unloads_it_loses_nothing(serve, repository):
    """Each call is answered; what was loaded last is what serves; nothing is left behind."""
    repository.add("teller", "m")
    repository.add("teller", "n")
    server = serve(repository.path, flags=EXPLICIT)
    dice = random.Random(6)
    rounds = full_or(40, 8)
    with ClosedLoop(server, teller_bytes("m"), clients=2) as load:
        for number in range(rounds):
            is_load = number % 2 == 0
            with ThreadPoolExecutor(1) as pool:
                call = pool.submit(server.load if is_load else server.unload, "n")
                time.sleep(dice.uniform(0, 0.06))  # the moment of the kill is the experiment
                kill_supervisor(server)
                assert call.result(ANSWER_SECONDS).status == 200, number
            if is_load:
                assert tell(server, "n").version == 1
            wait_until(lambda want=is_load: (names(server).get("n") == "READY") is want)
            load.wait_answered(by_each=1)
    assert load.failed == []
    wait_until(lambda: not server.processes_named("mps:n"), what="the workers of n to end")
    assert len(server.processes_named("mps:m")) == 1
    wait_until(
        lambda: len([name for name in server.segments() if "queue" in name]) == 1,
        what="the queues of n to be removed",
    )


def test_a_reload_that_meets_a_death_is_done_once(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    dice = random.Random(7)
    with ClosedLoop(server, teller_bytes("m"), clients=2) as load:
        for version in range(2, 2 + full_or(20, 4)):
            repository.add_version("teller", "m", version)
            with ThreadPoolExecutor(1) as pool:
                call = pool.submit(server.load, "m")
                time.sleep(dice.uniform(0, 0.06))  # as above
                kill_supervisor(server)
                assert call.result(ANSWER_SECONDS).status == 200, version
            assert tell(server, "m").version == version
    assert load.failed == []
    wait_until(lambda: len(server.processes_named("mps:m")) == 1)
