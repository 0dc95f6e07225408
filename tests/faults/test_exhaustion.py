"""Descriptors or the log's disk run out: what is there goes on, and nothing spins."""

import contextlib
import socket
import sys
import time

from tests.fixtures.closed_loop import Connection
from tests.fixtures.pace import within
from tests.fixtures.teller import tell, teller_bytes
from tests.fixtures.waiting import wait_until

DESCRIPTORS = 100
LIMITED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
os.execv(sys.argv[1], sys.argv[1:])
"""
LOOK_SECONDS = 1.0


def test_without_descriptors_those_who_are_connected_are_served_and_nothing_spins(
    serve, repository
):
    repository.add("teller", "m")
    server = serve(repository.path, prefix=[sys.executable, "-c", LIMITED])
    frontend = server.process_named("mps frontend 0")
    before = Connection(server)
    assert before.exchange(teller_bytes("m"))[0] == 200
    with contextlib.ExitStack() as idle:
        for _ in range(DESCRIPTORS):
            idle.enter_context(
                socket.create_connection(("127.0.0.1", server.port), timeout=within(10))
            )
        assert before.exchange(teller_bytes("m"))[0] == 200

        def rests() -> bool:
            begun = sum(frontend.cpu_times()[:2])
            time.sleep(LOOK_SECONDS)  # what it burns meanwhile is what is asked
            return sum(frontend.cpu_times()[:2]) - begun < 0.3 * LOOK_SECONDS

        wait_until(rests, what="the frontend to rest")
    before.close()
    wait_until(lambda: tell(server, "m").version == 1, deadline=within(10))
    assert server.process_named("mps frontend 0").pid == frontend.pid


def test_a_full_disk_under_the_log_costs_the_log_alone(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=["--log-file=/dev/full", "--log-verbose=1"])
    assert tell(server, "m").version == 1
    server.process_named("mps:m").kill()
    wait_until(lambda: tell(server, "m").version == 1)
