"""`python -m bench load` against a server that runs already."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RATE = 200
SECONDS = 1


def bench_load(*words):
    argv = [sys.executable, "-m", "bench", "load", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def adder(serve, repository):
    repository.add("adder", "adder")
    return serve(repository.path)


@pytest.mark.parametrize("encoding", [(), ("--binary",)], ids=["json", "binary"])
def test_an_open_loop_sends_what_is_due_and_tells_what_it_cost(adder, encoding):
    ran = bench_load(
        *("--url", adder.url, "--model", "adder", "--rate", str(RATE), "--seconds", str(SECONDS)),
        *("--connections", "4", "--pid", str(adder.pid), "--json", *encoding),
    )

    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen["load"]["requests"] == RATE * SECONDS
    assert seen["load"]["errors"] == 0
    assert 0 < seen["load"]["p50_us"] <= seen["load"]["p99_us"]
    assert seen["server"]["cpu_ns"] > 0


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("--model", "nobody"), "unknown model", 1),
        (("--model", "adder", "--shape", "NO=1"), "has no input", 2),
    ],
    ids=["model", "input"],
)
def test_what_cannot_be_asked_is_told(adder, words, message, code):
    ran = bench_load("--url", adder.url, "--rate", "10", *words)

    assert ran.returncode == code
    assert message in ran.stderr


def test_a_server_that_is_not_there_is_told():
    ran = bench_load("--url", "http://127.0.0.1:1", "--model", "m", "--rate", "10")

    assert ran.returncode == 1
    assert "no answer" in ran.stderr
