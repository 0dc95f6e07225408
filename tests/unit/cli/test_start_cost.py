"""The command line imports no more than it needs: a start must stay quick."""

import subprocess
import sys

import pytest

HEAVY = [
    "asyncio", "click", "google.protobuf", "logging", "numpy", "psutil", "rich", "uvloop",
    "watchfiles",
]  # fmt: skip


@pytest.mark.parametrize("module", HEAVY)
@pytest.mark.parametrize("command", ["serve", "start"])
def test_reading_a_command_line_does_not_import(module, command):
    code = (
        "import sys\n"
        "from mpserve.cli.entry import main\n"
        f"sys.argv = ['mpserve', {command!r}]\n"
        "try:\n"
        "    main()\n"  # it is told no repository, and ends when it has read that
        "except SystemExit:\n"
        f"    sys.exit(90 + ({module!r} in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ran.returncode == 90, ran.stderr


def test_other_words_are_left_to_click():
    command = [sys.executable, "-m", "mpserve", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("mpserve, version ")
