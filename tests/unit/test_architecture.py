"""Rules of the house that import-linter can not see, read from the syntax trees of the source."""

import ast
import re
from pathlib import Path

import pytest

from mpserve.telemetry.events import EVENTS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mpserve"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 450
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "manager", "util", "base", "core"}
COMPAT_NAMES = "mpserve/compat/"  # files there are named as the peers name them

# What may stand where: (what, pattern of the call or import, rooms or files that may have it).
PLACES = [
    pytest.param(
        r"^multiprocessing\.shared_memory",
        ("shm/segment.py",),
        id="shared memory is opened by shm/segment.py alone",
    ),
    pytest.param(
        r"^mpserve\._native",
        (
            "shm/",
            "codec/",
            "compat/",
            "frontend/http/",
            "telemetry/counters.py",
            "worker/",
            "dispatch/",
        ),
        id="the core is called from the rooms that move bytes",
    ),
    pytest.param(
        r"^(sklearn|xgboost|lightgbm|joblib)(\.|$)",
        ("runtimes/",),
        id="model libraries are imported by runtimes alone",
    ),
]
PROCESS_CALLS = {"fork", "forkpty", "execv", "execve", "kill", "killpg", "posix_spawn"}
PROCESS_PLACES = (
    "supervisor/",
    "worker/shared_weights.py",  # a fork that ends at once: which threads are left after it
    "worker/main.py",  # a fork of the model ends itself by the signal it was sent
)
ENVIRONMENT_PLACES = (
    "cli/",  # reads it into Settings
    "supervisor/spawner.py",  # hands it to a child
    "supervisor/spawner_process.py",  # the same
    "supervisor/main.py",  # the service manager's part of it
    "frontend/grpc/library.py",  # tells grpcio, which listens to nothing else
    "supervisor/user_change.py",  # HOME of the user that a worker becomes
    "supervisor/repository_view.py",  # hands it to the scan, for MLSERVER_MODEL_*
)


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(module: ast.Module):
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("pattern", "places"), PLACES)
def test_an_import_stands_only_where_it_may(pattern, places):
    offenders = [
        f"{relative(path)}: {name}"
        for path in SOURCES
        if not relative(path).startswith(places)
        for name in imports(tree(path))
        if re.search(pattern, name)
    ]
    assert offenders == []


def test_processes_are_made_and_ended_by_the_supervisor_alone():
    offenders = [
        f"{relative(path)}:{node.lineno} os.{node.func.attr}"
        for path in SOURCES
        if not relative(path).startswith(PROCESS_PLACES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "os"
        and node.func.attr in PROCESS_CALLS
    ]
    assert offenders == []


def test_the_environment_is_taken_where_it_is_handed_on():
    offenders = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        if not relative(path).startswith(ENVIRONMENT_PLACES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv"}
    ]
    assert offenders == []


def test_files_are_about_one_noun_each():
    long = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_files_are_not_named_after_nothing():
    named = [
        relative(path)
        for path in SOURCES
        if path.stem in FORBIDDEN_NAMES and COMPAT_NAMES not in path.as_posix()
    ]
    assert named == []


def test_every_module_says_what_it_is():
    assert [relative(path) for path in SOURCES if not ast.get_docstring(tree(path))] == []


def logged_events() -> dict[str, str]:
    """Return event -> a place that logs it."""
    found = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.func.attr in {"debug", "info", "warning", "error"}
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found[node.args[0].value] = f"{relative(path)}:{node.lineno}"
    return found


def test_every_logged_event_is_listed():
    assert {name: place for name, place in logged_events().items() if name not in EVENTS} == {}


def test_every_listed_event_is_logged_somewhere():
    text = "\n".join(path.read_text() for path in SOURCES if path.name != "events.py")
    assert [name for name in EVENTS if f'"{name}"' not in text] == []
