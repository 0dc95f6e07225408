"""SIGKILL of the spawner: what runs goes on, the next start of a process works."""

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import within
from tests.fixtures.teller import tell, teller_bytes
from tests.fixtures.waiting import wait_until

BACK_SECONDS = within(5)  # it imports numpy anew
EXPLICIT = ["--model-control-mode=explicit", "--load-model=m", "--log-format=json"]


def kill_spawner(server) -> None:
    spawner = server.process_named("mpserve spawner")
    spawner.kill()
    spawner.wait(10)


def test_running_processes_are_unaffected_and_the_next_load_works(serve, repository):
    repository.add("teller", "m")
    repository.add("teller", "later")
    server = serve(repository.path, flags=EXPLICIT)
    before = tell(server, "m")
    with ClosedLoop(server, teller_bytes("m"), clients=4) as load:
        load.wait_answered(by_each=10)
        kill_spawner(server)
        load.wait_answered(by_each=10)
        assert server.load("later").status == 200
        load.wait_answered(by_each=10)
    assert load.failed == []
    assert tell(server, "m") == before
    assert tell(server, "later").version == 1
    assert server.unload("later").status == 200
    assert server.unload("m").status == 200
    wait_until(lambda: not server.processes_named("mps:m"), what="the adopted worker to end")


def test_children_of_a_dead_spawner_are_still_repaired(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    before = tell(server, "m")
    kill_spawner(server)
    server.process_named("mps:m").kill()
    server.process_named("mps frontend 0").kill()

    def is_back() -> bool:
        return tell(server, "m").pid != before.pid

    wait_until(is_back, deadline=BACK_SECONDS, what="worker and frontend to be back")


@pytest.mark.parametrize("loads", [3])
def test_a_spawner_killed_during_loads_costs_those_loads_at_most(serve, repository, loads):
    """Each call is answered, and afterwards everything loads."""
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    for version in range(2, 2 + loads):
        repository.add_version("teller", "m", version)
        spawner = server.process_named("mpserve spawner")
        spawner.kill()  # not waited for: the supervisor may still ask the dead one
        status = server.load("m").status
        assert status in {200, 400}
        if status == 400:
            assert tell(server, "m").version == version - 1
            assert server.load("m").status == 200
        assert tell(server, "m").version == version
