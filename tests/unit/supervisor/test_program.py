"""When a worker is a program of its own, and with which variables it runs."""

from pathlib import Path

import pytest

import mpserve
from mpserve.errors import LoadError
from mpserve.model.config import ModelConfig
from mpserve.settings import Allocator, Settings
from mpserve.supervisor import program
from mpserve.supervisor.program import environment_variables, package_directories, program_of
from tests.unit.lifecycle.simulation import Simulation, define


@pytest.fixture(autouse=True)
def libraries(monkeypatch):
    """Let every allocator be installed."""

    def find(allocator):
        return "" if allocator is Allocator.MALLOC else f"/lib/{allocator.value}.so"

    monkeypatch.setattr(program, "find_allocator", find)


def record_of(**config):
    story = Simulation()
    story.wish(define())
    (record,) = story.actual.models["m"].generations
    return type(record)(
        **{name: getattr(record, name) for name in record.__struct_fields__}
        | {"config": ModelConfig(**config)}
    )


def test_a_model_that_asks_for_nothing_is_forked():
    assert program_of(record_of(), Settings()) is None


def test_the_allocator_of_the_server_holds_for_all_models():
    found = program_of(record_of(), Settings(allocator=Allocator.JEMALLOC))
    assert found is not None
    assert (found.preload, found.environment) == ("/lib/jemalloc.so", "")


def test_the_allocator_of_a_model_goes_before_the_servers():
    settings = Settings(allocator=Allocator.JEMALLOC)
    assert program_of(record_of(allocator="malloc"), settings) is None
    found = program_of(record_of(allocator="tcmalloc"), settings)
    assert found is not None
    assert found.preload == "/lib/tcmalloc.so"


def test_an_unknown_allocator_fails_the_load():
    with pytest.raises(LoadError):
        program_of(record_of(allocator="what"), Settings())


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("/opt/env", "/opt/env"),
        ("env.tar.gz", "/models/m/env.tar.gz"),
        ("$$TRITON_MODEL_DIRECTORY/env", "/models/m/env"),
    ],
)
def test_an_environment_is_found_from_the_model(told, meant):
    found = program_of(record_of(environment=told), Settings(environments_dir="/cache"))
    assert found is not None
    assert (found.environment, found.environments_directory) == (meant, "/cache")
    assert found.preload == ""


def test_variables_are_those_of_an_activated_environment(tmp_path):
    given = {"PATH": "/bin", "PYTHONHOME": "/x", "LD_PRELOAD": "/a.so", "HOME": "/h"}
    assert environment_variables(given, folder=tmp_path, preload="/b.so") == {
        "PATH": f"{tmp_path}/bin:/bin",
        "LD_LIBRARY_PATH": f"{tmp_path}/lib",
        "LD_PRELOAD": "/b.so:/a.so",
        "CONDA_PREFIX": str(tmp_path),
        "HOME": "/h",
    }
    (tmp_path / "pyvenv.cfg").touch()
    assert environment_variables({}, folder=tmp_path, preload="")["VIRTUAL_ENV"] == str(tmp_path)


def test_without_an_environment_only_the_library_is_added():
    assert environment_variables({"PATH": "/bin"}, folder=None, preload="/b.so") == {
        "PATH": "/bin",
        "LD_PRELOAD": "/b.so",
    }


def test_mpserve_itself_is_found():
    assert package_directories()[0] == str(Path(mpserve.__file__).parents[1])
