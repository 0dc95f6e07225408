"""numpy comes to a frontend when no table has come for a while, and in nobody's way."""

import subprocess
import sys

STORY = """
import sys, threading
from mpserve.frontend.late_import import CALM_SECONDS, LateImport

timers = []
late = LateImport(lambda *timer: timers.append(timer))

def pass_time():
    (seconds, callback), = timers
    timers.clear()
    assert seconds == CALM_SECONDS
    callback()

assert not timers  # without a model there is no need
late.want()
late.want()
pass_time()
assert "numpy" not in sys.modules  # a table had come meanwhile
late.want()
pass_time()
assert "numpy" not in sys.modules
pass_time()
for one in threading.enumerate():
    if one is not threading.current_thread():
        one.join()
assert "numpy" in sys.modules
late.want()
assert not timers
LateImport(lambda *timer: timers.append(timer)).want()
assert not timers  # as in a frontend that was forked with it
"""


def test_it_waits_for_calm_and_happens_once():
    ran = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
