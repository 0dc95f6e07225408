"""The kernel ends what takes more memory than the server's control group has: that worker alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import within
from tests.fixtures.scripted import post_script, run_script
from tests.fixtures.teller import tell, teller_bytes
from tests.fixtures.waiting import wait_until

LIMIT_MIB = 768
OWN_PID = "import os; return os.getpid()"
TAKE = f"return len(b'x' * ({2 * LIMIT_MIB} << 20))"
# Where groups are, and the name of the limit: of the first and of the second version.
VERSIONS = {
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    Path("/sys/fs/cgroup"): "memory.max",
}


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a limit of memory."""
    for place, limit in VERSIONS.items():
        made = place / f"mpserve-test-{os.getpid()}"
        try:
            made.mkdir()
        except OSError:
            continue
        if (made / limit).exists():
            (made / limit).write_text(str(LIMIT_MIB << 20))
            yield made
            wait_until(lambda made=made: (made / "cgroup.procs").read_text() == "")
            made.rmdir()
            return
        made.rmdir()
    pytest.skip("no control group with a limit of memory can be made here")


def test_a_worker_that_takes_more_than_the_group_has_ends_alone(serve, repository, group):
    repository.add("scripted", "greedy")
    repository.add("teller", "other")
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    server = serve(repository.path, flags=["--log-format=json"], prefix=enter)
    pid = run_script(server, "greedy", OWN_PID)
    others = {process.pid for process in server.lasting_processes()} - {pid}
    with ClosedLoop(server, teller_bytes("other"), clients=2) as load:
        load.wait_answered(by_each=5)
        answer = post_script(server, "greedy", TAKE)
        assert answer.status == 503
        assert "worker process of model 'greedy' ended" in answer.json()["error"]
        load.wait_answered(by_each=5)
    assert load.failed == []
    (event,) = wait_until(lambda: server.events("worker.ended"))
    assert (event["model"], event["signal"]) == ("greedy", 9)
    wait_until(lambda: run_script(server, "greedy", OWN_PID) not in {0, pid}, deadline=within(10))
    assert others <= {process.pid for process in server.processes()}
    assert tell(server, "other").version == 1
    assert server.stop() == 0
