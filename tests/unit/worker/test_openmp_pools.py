"""Which OpenMP libraries are found, and that their threads end."""

import os
import subprocess
import sys

import pytest

from mpserve.worker.openmp_pools import openmp_libraries

MAPS = """\
7f00-7f01 r--p 00000000 fe:00 1234    /venv/scikit_learn.libs/libgomp-e985bcbb.so.1.0.0
7f01-7f02 r-xp 00001000 fe:00 1234    /venv/scikit_learn.libs/libgomp-e985bcbb.so.1.0.0
7f02-7f03 r-xp 00000000 fe:00 99      /usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0
7f03-7f04 r-xp 00000000 fe:00 100     /opt/a folder/lib/libiomp5.so
7f04-7f05 r-xp 00000000 fe:00 101     /usr/lib/llvm-16/lib/libomp.so.5
7f05-7f06 r-xp 00000000 fe:00 102     /usr/lib/llvm-16/lib/libompd.so
7f06-7f07 r-xp 00000000 fe:00 103     /usr/lib/libcompat.so
7f07-7f08 rw-p 00000000 00:00 0       /SYSV00000000 (deleted)
7f08-7f09 rw-p 00000000 00:00 0
"""
# Real threads of a real library; in a process of its own, because they are the main thread's.
COMPUTES = """
import os
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from mpserve.worker.openmp_pools import end_pools
from mpserve.worker.shared_weights import require_no_threads

def threads():
    return len(os.listdir("/proc/self/task"))

def fit():
    HistGradientBoostingRegressor(max_iter=2).fit(np.ones((100, 2)), np.arange(100))

fit()
assert threads() > 1
require_no_threads()
assert threads() == 1
pid = os.fork()
fit()  # in both: the parent has a pool again, too
assert threads() > 1
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_each_copy_of_a_library_is_found_once():
    assert list(openmp_libraries(MAPS.splitlines())) == [
        "/venv/scikit_learn.libs/libgomp-e985bcbb.so.1.0.0",
        "/usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0",
        "/opt/a folder/lib/libiomp5.so",
        "/usr/lib/llvm-16/lib/libomp.so.5",
    ]


def test_a_process_that_has_computed_can_be_forked_and_both_compute_again():
    pytest.importorskip("sklearn")
    ran = subprocess.run(
        [sys.executable, "-c", COMPUTES],
        env={**os.environ, "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout.strip() == "7", ran.stderr
