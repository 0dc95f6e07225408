"""A model that takes more memory than it may: its load or request fails, nobody else notices."""

import json

from tests.fixtures.scripted import post_script, run_script
from tests.fixtures.teller import tell
from tests.fixtures.waiting import wait_until

LIMIT_MIB = 600
LIMIT = {"MPSERVE_MEMORY_LIMIT_MIB": str(LIMIT_MIB)}
TAKE = f"return len(bytearray({2 * LIMIT_MIB} << 20))"
ABORT = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
if not libc.malloc(ctypes.c_size_t(%d << 20)):
    os.write(2, b"native code had no memory\\n")
    libc.abort()
"""


def test_a_request_that_takes_too_much_fails_and_its_worker_goes_on(serve, repository):
    repository.add("scripted", "greedy", parameters=LIMIT)
    repository.add("teller", "other")
    server = serve(repository.path)
    other = tell(server, "other").pid
    pid = run_script(server, "greedy", "import os; return os.getpid()")
    answer = post_script(server, "greedy", TAKE)
    assert answer.status == 500
    assert "MemoryError" in answer.json()["error"]
    assert run_script(server, "greedy", "import os; return os.getpid()") == pid
    assert run_script(server, "greedy", f"return len(bytearray({LIMIT_MIB // 6} << 20))") > 0
    assert tell(server, "other").pid == other


def test_native_code_that_can_not_bear_it_ends_its_own_worker(serve, repository):
    repository.add("scripted", "greedy", parameters=LIMIT)
    repository.add("teller", "other")
    server = serve(repository.path)
    other = tell(server, "other").pid
    pid = run_script(server, "greedy", "import os; return os.getpid()")
    answer = post_script(server, "greedy", ABORT % (2 * LIMIT_MIB))
    assert answer.status in {500, 503}
    assert "worker process of model 'greedy' ended" in answer.json()["error"]
    wait_until(lambda: "native code had no memory" in server.log_text)
    wait_until(lambda: "signal=6" in server.log_text)
    wait_until(
        lambda: run_script(server, "greedy", "import os; return os.getpid()") not in {0, pid}
    )
    assert tell(server, "other").pid == other


def test_a_load_that_takes_too_much_fails_and_the_index_says_why(serve, repository):
    repository.add("teller", "other")
    repository.add("hoarder", "greedy", parameters={**LIMIT, "mebibytes": str(2 * LIMIT_MIB)})
    flags = ["--model-control-mode=explicit", "--load-model=other"]
    server = serve(repository.path, flags=flags)
    assert server.load("greedy").status == 400
    rows = {row["name"]: row for row in server.post("/v2/repository/index", {}).json()}
    assert rows["greedy"]["state"] == "UNAVAILABLE"
    assert "Unable to allocate" in rows["greedy"]["reason"], json.dumps(rows["greedy"])
    assert tell(server, "other").version == 1
    repository.add("hoarder", "greedy", parameters={**LIMIT, "mebibytes": "1"})
    assert server.load("greedy").status == 200
