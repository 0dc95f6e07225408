"""SIGKILL of a frontend: its clients connect again, the other frontends and all workers go on."""

import time

import psutil
import pytest

from tests.fixtures.closed_loop import ClosedLoop, Connection, post_bytes
from tests.fixtures.pace import within
from tests.fixtures.teller import tell, teller_bytes
from tests.fixtures.waiting import wait_until

ANSWERED_SECONDS = within(1)
BACK_SECONDS = within(2)
EXPLICIT = ["--model-control-mode=explicit", "--load-model=*", "--log-format=json"]
CONNECTIONS = 16
HUNG_SECONDS = 90.0  # three times what a frontend may be silent


def frontend_of(server, connection: Connection) -> psutil.Process:
    """Return the frontend that holds the other end."""

    def holder() -> psutil.Process | None:
        for index in range(2):
            process = server.process_named(f"mps frontend {index}")
            for one in process.net_connections():
                if one.raddr and one.raddr.port == connection.local_port:
                    return process
        return None

    return wait_until(holder, what="the connection to be accepted")


def test_a_killed_frontend_is_back_and_no_worker_noticed(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    before = tell(server, "m")
    with ClosedLoop(server, teller_bytes("m"), clients=8) as load:
        for _ in range(3):
            load.wait_answered(by_each=5)
            frontend = server.process_named("mps frontend 0")
            killed_at = time.monotonic()
            frontend.kill()
            frontend.wait(within(5))
            load.wait_answered(deadline=BACK_SECONDS)
            assert max(one.seconds for one in load.since(killed_at)) < ANSWERED_SECONDS
        load.wait_answered(by_each=20)
    assert {one.status for one in load.failed} <= {0}, "who was answered was answered well"
    assert max(one.seconds for one in load.outcomes) < ANSWERED_SECONDS
    assert tell(server, "m") == before
    assert len(server.events("frontend.died")) == 3


def test_the_other_frontend_notices_nothing(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[*EXPLICIT, "--frontends=2"])
    wait_until(lambda: server.events("server.ready"), what="both frontends to listen")
    before = tell(server, "m")
    request = teller_bytes("m")
    connections = [Connection(server) for _ in range(CONNECTIONS)]
    holders = [frontend_of(server, connection) for connection in connections]
    victim = holders[0]
    theirs = [one for one, holder in zip(connections, holders, strict=True) if holder != victim]
    assert theirs, "the kernel gave all connections to one frontend"
    try:
        with ClosedLoop(server, request, clients=4):  # work in flight at both
            for index in range(60):
                if index == 20:
                    victim.kill()
                for connection in theirs:
                    assert connection.exchange(request)[0] == 200
        with pytest.raises(OSError, match="closed|reset|pipe"):
            connections[0].exchange(request)
    finally:
        for connection in connections:
            connection.close()
    wait_until(
        lambda: (
            len(server.events("frontend.ready", frontend=0)) == 2
            or len(server.events("frontend.ready", frontend=1)) == 2
        ),
        deadline=BACK_SECONDS,
        what="the killed frontend to be back",
    )
    assert tell(server, "m") == before


def test_loads_go_on_after_the_death_of_a_frontend(serve, repository):
    """Nobody waits for the acknowledgement of a dead one, and the new one gets the whole table."""
    repository.add("teller", "m")
    server = serve(repository.path, flags=[*EXPLICIT, "--frontends=2"])
    wait_until(lambda: server.events("server.ready"), what="both frontends to listen")
    server.process_named("mps frontend 1").kill()
    begun = time.monotonic()
    repository.add_version("teller", "m", 2)
    wait_until(lambda: server.load("m").status == 200, deadline=BACK_SECONDS, what="a load")
    wait_until(
        lambda: len(server.events("frontend.ready", frontend=1)) == 2,
        deadline=BACK_SECONDS,
        what="the killed frontend to be back",
    )
    assert time.monotonic() - begun < 2 * BACK_SECONDS
    answers = set()
    for _ in range(CONNECTIONS):
        answers.add(tell(server, "m").version)
    assert answers == {2}


@pytest.mark.timeout(180)
def test_a_frontend_that_is_stopped_is_replaced_and_loads_go_on(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[*EXPLICIT, "--frontends=2"])
    wait_until(lambda: server.events("server.ready"), what="both frontends to listen")
    connections = [Connection(server) for _ in range(CONNECTIONS)]
    holders = [frontend_of(server, connection) for connection in connections]
    hung = server.process_named("mps frontend 1")
    living = next(one for one, holder in zip(connections, holders, strict=True) if holder != hung)
    living.socket.settimeout(HUNG_SECONDS)
    repository.add_version("teller", "m", 2)
    hung.suspend()
    assert living.exchange(post_bytes("/v2/repository/models/m/load", {}))[0] == 200
    for connection in connections:
        connection.close()
    assert server.events("process.stopped")
    wait_until(
        lambda: len(server.events("frontend.ready", frontend=1)) == 2,
        deadline=BACK_SECONDS,
        what="another frontend",
    )
    assert tell(server, "m").version == 2
