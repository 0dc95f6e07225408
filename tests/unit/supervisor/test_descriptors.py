import json
import subprocess
import sys

PROGRAM = """
import json, os, sys
from mpserve.supervisor.descriptors import close_all_but
kept = [int(text) for text in sys.argv[1:]]
extra = [os.dup(1) for _ in range(10)]
os.dup2(1, 200)
close_all_but({0, 1, 2, *kept})
listed = [int(name) for name in os.listdir("/proc/self/fd")]
print(json.dumps([fd for fd in listed if os.path.exists(f"/proc/self/fd/{fd}")]))
"""


def open_after(*kept):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, kept)], capture_output=True, check=True
    )
    return set(json.loads(ended.stdout))


def test_everything_but_the_standard_streams_is_closed():
    assert open_after() == {0, 1, 2}


def test_what_is_to_be_kept_is_kept_wherever_it_lies():
    assert open_after(5, 200) == {0, 1, 2, 5, 200}
