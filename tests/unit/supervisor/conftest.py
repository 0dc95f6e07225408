"""Repositories for the tests of those who read them."""

import pytest

from mpserve.settings import ModelControlMode, Settings
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.repository_view import RepositoryView


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def put(root):
    """Write a model that can be served; `config` is its configuration."""

    def write(name, config='backend: "python"\n', code="class TritonPythonModel: pass\n"):
        (root / name / "1").mkdir(parents=True, exist_ok=True)
        (root / name / "config.pbtxt").write_text(config)
        (root / name / "1" / "model.py").write_text(code)

    return write


@pytest.fixture
def settings(root):
    """Settings of a control mode."""

    def of(mode=ModelControlMode.EXPLICIT, **fields):
        return Settings(model_repositories=(str(root),), model_control_mode=mode, **fields)

    return of


@pytest.fixture
def files():
    return checkpoint_files()


@pytest.fixture
def view(settings, files):
    """Open the view of a control mode; its folder for files of calls is closed at the end."""
    opened = []

    def of(mode=ModelControlMode.EXPLICIT):
        opened.append(RepositoryView(settings(mode), Checkpoint(files)))
        return opened[-1]

    yield of
    for one in opened:
        one.close()
