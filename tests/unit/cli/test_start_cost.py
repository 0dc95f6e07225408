"""The command line imports no more than it needs: a start must stay quick."""

import subprocess
import sys

import pytest

HEAVY = ["rich", "numpy", "uvloop", "google.protobuf", "asyncio", "logging", "psutil", "watchfiles"]


@pytest.mark.parametrize("module", HEAVY)
def test_reading_a_command_line_does_not_import(module):
    code = (
        "import sys\n"
        "from mpserve.cli.serve import serve\n"
        "from mpserve.settings.reading import read_serve\n"
        "read_serve(['--model-repository=/m'], environment={}, version='')\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
