"""What a frontend imports to be ready: numpy takes longer than all of it."""

import subprocess
import sys

import pytest

HEAVY = ["click", "grpc", "numpy", "opentelemetry", "psutil", "watchfiles"]


@pytest.mark.parametrize("module", HEAVY)
def test_a_frontend_starts_without(module):
    code = (
        "import sys\n"
        "import mpserve.frontend.main, mpserve.frontend.grpc.preload\n"
        f"sys.exit(90 + ({module!r} in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ran.returncode == 90, ran.stderr
