"""What the spawner imports, and what those who wait for a child wait for."""

import sys

import pytest

from mpserve.control.spawner_messages import Birth, Spawn
from mpserve.supervisor.entrypoints import EntryPoint
from mpserve.supervisor.preloads import Preloads

ROWS = {
    "first": ("preloaded_one", ()),
    "second": ("preloaded_two", ("preloaded_late", "preloaded_last")),
}


@pytest.fixture
def preloads(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, later in ROWS.values():
        for name in (module, *later):
            (tmp_path / f"{name}.py").touch()
    yield Preloads(
        {
            role: EntryPoint(target="", start="", preload=(module,), preload_later=later)
            for role, (module, later) in ROWS.items()
        }
    )
    for name in imported():
        del sys.modules[name]


def imported():
    return [name for name in sys.modules if name.startswith("preloaded_")]


def test_modules_are_imported_role_by_role_and_what_only_some_need_last(preloads):
    while preloads:
        preloads.import_next()
    assert imported() == ["preloaded_one", "preloaded_two", "preloaded_late", "preloaded_last"]


def test_a_child_waits_for_what_it_needs_and_the_rest_is_imported_later(preloads):
    preloads.import_for(Spawn(spawn_id=1, role="second", title="", start=b"", birth=Birth()))
    assert imported() == ["preloaded_two"]
    assert len(preloads) == 3
    while preloads:
        preloads.import_next()
    assert imported() == ["preloaded_two", "preloaded_one", "preloaded_late", "preloaded_last"]


def test_what_only_some_need_is_imported_soon_when_nothing_else_is_left(preloads):
    def asked_for(role):
        return Spawn(spawn_id=1, role=role, title="", start=b"", birth=Birth())

    preloads.import_for(asked_for("second"))
    with_another_role_left = preloads.wait_ms
    preloads.import_for(asked_for("first"))
    assert preloads.wait_ms < with_another_role_left
