"""What a worker does before there is a model for it, and that nothing of it is left."""

import os
import subprocess
import sys

CHECK = """
import os, sys, threading
import mpserve.worker.preload
from mpserve.compat import triton_bls
from mpserve.compat.triton_place import get_model_dir
from mpserve.errors import LoadError
from mpserve.worker import standby

def world():
    return (
        set(sys.modules), list(sys.path), set(sys.path_importer_cache), sys.dont_write_bytecode,
        triton_bls.current_phase(), get_model_dir(), threading.active_count(),
        sorted(os.listdir("/proc/self/fd")),
    )

loads = []
load = standby.load
standby.load = lambda start: loads.append(load(start)) or loads[-1]
standby.rehearse()  # modules of the standard library that only a load needs
before = world()
standby.rehearse()
assert world() == before, (world(), before)
assert len(loads) == 2, "it failed"

def replaced(start):
    raise LoadError("no such file")

standby.load = replaced
standby.rehearse()
assert world() == before
"""


def test_nothing_is_left_of_the_rehearsal():
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
