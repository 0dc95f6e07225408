"""What the supervisor remembers of the repositories: scans, listings and overrides."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from mpserve.errors import ModelNotFound
from mpserve.repository import Override
from mpserve.repository.triton.pbtxt import parse_text_config
from mpserve.settings import ModelControlMode

CONFIG = Override(config='{"backend": "python", "max_batch_size": 4}')
FILES = Override(config='{"backend": "python"}', files={"1/model.py": b"class M: pass"})


def model(view, name="m", override=None):
    return asyncio.run(view.model(name, override))


def is_overridden(definition):
    return '"max_batch_size":4' in definition.config_json


def listed(view):
    return asyncio.run(view.listing()).names


def test_an_override_is_in_force_until_a_file_changes(view, put, root):
    put("m")
    seen = view()
    loaded = model(seen, override=CONFIG)
    assert is_overridden(loaded)
    seen.remember(loaded, CONFIG)
    assert model(seen) is loaded
    os.utime(root / "m/1/model.py", ns=(1, 1))
    assert not is_overridden(model(seen))


def test_an_override_that_did_not_load_is_not_in_force(view, put):
    put("m")
    seen = view()
    assert is_overridden(model(seen, override=CONFIG))
    assert not is_overridden(model(seen))


def test_an_unload_ends_an_override_and_so_does_another_load(view, put):
    put("m")
    seen = view()
    seen.remember(model(seen, override=CONFIG), CONFIG)
    seen.forget("m")
    assert not is_overridden(model(seen))
    seen.remember(model(seen, override=CONFIG), CONFIG)
    seen.remember(model(seen, override=FILES), FILES)
    assert not is_overridden(model(seen))


def unload(view, _root):
    view.forget("m")


def remove_folder(view, root):
    asyncio.run(view.scan())
    shutil.rmtree(root / "m")
    asyncio.run(view.scan())


@pytest.mark.parametrize("goes", [unload, remove_folder])
def test_what_the_configuration_of_a_model_meant_goes_with_it(view, put, root, goes):
    path = str(root / "m/config.pbtxt")
    text = f'name: "m" backend: "python" # {path}'  # no other file's
    put("m", text)
    seen = view()
    model(seen)
    meaning = parse_text_config(text, path=path)
    goes(seen, root)
    assert parse_text_config(text, path=path) is not meaning


def test_the_next_supervisor_knows_the_override(view, put):
    put("m")
    first = view()
    loaded = model(first, override=CONFIG)
    first.remember(loaded, CONFIG)
    assert model(view()) == loaded


def test_files_of_a_call_are_there_until_nobody_uses_them(view):
    seen = view()
    assert not seen.has_temporary
    loaded = model(seen, "fresh", FILES)
    assert loaded.temporary
    assert seen.has_temporary
    seen.discard_all_but([loaded.directory])
    assert (Path(loaded.directory) / "1/model.py").read_bytes() == b"class M: pass"
    seen.discard_all_but([])
    assert not Path(loaded.directory).exists()
    assert not seen.has_temporary


def test_the_end_removes_all_files_of_calls(view):
    seen = view()
    folders = [Path(model(seen, name, FILES).directory).parent for name in ("a", "b")]
    assert all(folder.exists() for folder in folders)
    seen.close()
    assert not any(folder.exists() for folder in folders)


def test_what_is_not_there_is_not_found(view):
    with pytest.raises(ModelNotFound):
        model(view(), "absent")


def test_a_folder_is_unchanged_until_something_in_it_is_written_or_it_goes(view, put, root):
    put("m")
    seen = view(ModelControlMode.POLL)
    found = model(seen)
    assert asyncio.run(seen.is_unchanged(found))
    (root / "m/1/.model.py.swp").write_text("an editor's")
    assert asyncio.run(seen.is_unchanged(found))
    (root / "m/1/model.py").write_text("half")
    assert not asyncio.run(seen.is_unchanged(found))
    (root / "m").rename(root.parent / "elsewhere")
    assert not asyncio.run(seen.is_unchanged(found))


@pytest.mark.parametrize("mode", [ModelControlMode.EXPLICIT, ModelControlMode.NONE])
def test_the_listing_is_of_now(view, put, mode):
    put("a")
    seen = view(mode)
    seen.scan_now()
    put("b")
    assert listed(seen) == ("a", "b")


def test_in_poll_mode_the_listing_is_of_the_last_scan(view, put):
    put("a")
    seen = view(ModelControlMode.POLL)
    seen.scan_now()
    put("b")
    assert listed(seen) == ("a",)
    asyncio.run(seen.scan())
    assert listed(seen) == ("a", "b")


@pytest.mark.parametrize(
    ("mode", "is_told"),
    [
        (ModelControlMode.NONE, True),
        (ModelControlMode.POLL, True),
        (ModelControlMode.EXPLICIT, False),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_where_scans_decide(view, put, mode, is_told):
    put("m", config="no { configuration")
    seen = view(mode)
    assert seen.fault("m") == ""
    seen.scan_now()
    assert bool(seen.fault("m")) is is_told
