import os
import subprocess
import sys

from mpserve.supervisor.entrypoints import RUNTIME_PRELOAD

CHECK = """
import importlib, os, sys, threading
import mpserve.worker.preload
for module in sys.argv[1:]:
    importlib.import_module(module)
assert threading.active_count() == 1, threading.enumerate()
assert "asyncio" in sys.modules and "numpy" in sys.modules
assert not any(name.startswith(("mpserve.frontend", "mpserve.supervisor")) for name in sys.modules)
print(len(os.listdir("/proc/self/task")))
"""


def test_the_spawner_has_one_thread_after_preloading():
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENBLAS_NUM_THREADS": "1",  # a library's own pool is restarted after a fork
    }
    modules = [module for row in RUNTIME_PRELOAD.values() for module in row]
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *modules],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "1"
