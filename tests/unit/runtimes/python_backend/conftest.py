"""Models of Triton's Python backend, written and loaded on demand."""

import sys
import textwrap

import pytest

from mpserve.runtimes.python_backend import PythonBackendRuntime
from tests.unit.runtimes.plain import triton_context


@pytest.fixture(autouse=True)
def imports_are_put_back(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture
def write_model(tmp_path):
    """Write version 1 of a model and return its load context."""

    def write(source, *, files=(), **fields):
        version = tmp_path / "m" / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version / "model.py").write_text(
            "import triton_python_backend_utils as pb_utils\n" + textwrap.dedent(source)
        )
        for path, content in files:
            (tmp_path / "m" / path).write_text(content)
        return triton_context(
            tmp_path / "m", **{"config_json": "{}", "complete_config": False, **fields}
        )

    return write


@pytest.fixture
def load(write_model):
    """Write a model, load it, and unload it at the end."""
    runtime = PythonBackendRuntime()

    def load_one(source, **fields):
        runtime.load(write_model(source, **fields))
        return runtime

    yield load_one
    runtime.unload()
