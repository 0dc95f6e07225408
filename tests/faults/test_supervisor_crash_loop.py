"""A supervisor that can not take over: tried again while inference goes on, and the end is told."""

import contextlib
import resource
from pathlib import Path

import psutil

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import within
from tests.fixtures.teller import tell, teller_bytes
from tests.fixtures.waiting import wait_until

TITLE = "mps supervisor"
FLAGS = ["--log-format=json"]
GIVEN_UP_SECONDS = within(15)
DEATHS = 20  # of supervisors, within 15 s


def spoil_what_is_kept(root: psutil.Process) -> None:
    """Write rubbish over every value that supervisors keep for the next one."""
    for path in Path(f"/proc/{root.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if "mpserve-state" in str(path.readlink()):
                size = path.stat().st_size
                with path.open("r+b") as file:
                    content = file.read()
                    file.seek(0)
                    # The structure stays: lengths and keys are there, what is kept can not be read.
                    file.write(content.replace(b"\xa4", b"\xc1"))
                assert path.stat().st_size == size


def test_a_state_that_nobody_can_read_ends_the_server_with_1_and_the_reason(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    wait_until(lambda: "server.ready" in server.log_text)
    before = tell(server, "m")
    with ClosedLoop(server, teller_bytes("m"), clients=1) as load:
        load.wait_answered(by_each=5)
        spoil_what_is_kept(server.process_named("mpserve"))
        server.process_named(TITLE).kill()
        wait_until(lambda: len(server.events("supervisor.died")) > 3, deadline=within(5))
        assert tell(server, "m") == before, "inference needs no supervisor"
    server.expected_exit_code = None
    assert server.wait_exit(deadline=GIVEN_UP_SECONDS) == 1
    (event,) = server.events("supervisor.given_up")
    assert event["deaths"] == DEATHS
    assert "Traceback" in server.log_text
    assert load.failed == []


def test_a_supervisor_without_descriptors_takes_over_once_there_are_some(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    before = tell(server, "m")
    root = server.process_named("mpserve")
    supervisor = server.process_named(TITLE)
    soft, hard = resource.prlimit(root.pid, resource.RLIMIT_NOFILE)
    used = max(int(path.name) for path in Path(f"/proc/{root.pid}/fd").iterdir())
    resource.prlimit(root.pid, resource.RLIMIT_NOFILE, (used + 3, hard))
    supervisor.kill()
    wait_until(lambda: len(server.events("supervisor.died")) > 2, deadline=within(5))
    assert tell(server, "m") == before
    resource.prlimit(root.pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: [row["state"] for row in server.index()] == ["READY"], deadline=within(5))
    assert tell(server, "m") == before
