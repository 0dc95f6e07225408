import sys

import pytest

from bench.micro.worker_loop import batch_of, load_model


@pytest.fixture(autouse=True)
def nothing_stays_imported(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield
    for name in ("1", "1.model"):
        del sys.modules[name]


def test_a_batch_runs_through_the_loop_of_today(tmp_path):
    batch_of(4, load_model(tmp_path))()  # what goes wrong in it raises
