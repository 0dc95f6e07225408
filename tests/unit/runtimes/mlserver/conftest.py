"""A model's folder, its runtime, and both together."""

import sys

import pytest

from mpserve.compat.mlserver.alias import withdraw_mlserver
from mpserve.runtimes.mlserver_model import MLServerModelRuntime
from tests.unit.runtimes.mlserver.models import context_of, write
from tests.unit.runtimes.plain import PlainRequest, PlainResponses


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model's folder; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    withdraw_mlserver()


@pytest.fixture
def runtime():
    runtime = MLServerModelRuntime(PlainResponses())
    yield runtime
    runtime.unload()


@pytest.fixture
def load(folder, runtime):
    def load(source, **settings):
        write(folder, source)
        runtime.load(context_of(folder, **settings))
        return lambda *inputs, **options: runtime.execute([PlainRequest(*inputs, **options)])[0]

    return load
