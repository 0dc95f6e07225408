import sys
from typing import ClassVar

import pytest

from mpserve.errors import InvalidRequest, LoadError, Unsupported
from mpserve.runtimes import registry
from mpserve.runtimes.protocol import CompletedConfig
from mpserve.worker.loading import load

from .starts import worker_start


class RecordingRuntime:
    name = "recording"
    default_files = ()
    raises: ClassVar = None
    calls: ClassVar = []

    def load(self, context):
        self.calls.append(("load", context.model_name, context.version_directory))
        if self.raises is not None:
            raise self.raises
        return CompletedConfig(config=context.config, config_json=context.config_json)

    def execute(self, requests):
        raise NotImplementedError(requests)

    def unload(self):
        self.calls.append("unload")


@pytest.fixture
def runtime(monkeypatch):
    monkeypatch.setitem(registry.BUILT_IN, "recording", f"{__name__}:RecordingRuntime")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[RecordingRuntime.__module__])
    monkeypatch.setattr(RecordingRuntime, "calls", [])
    monkeypatch.setattr(RecordingRuntime, "raises", None)
    return RecordingRuntime


def test_a_model_is_loaded_by_its_runtime(runtime):
    loaded = load(worker_start(runtime="recording"))
    assert runtime.calls == [("load", "m", "/nowhere/m/1")]
    assert loaded.completed.config_json == "{}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LoadError("as told"), "as told"),
        (OSError("no file"), "OSError: no file"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_whatever_is_raised_fails_the_load_and_lets_go_of_the_model(runtime, error, words):
    runtime.raises = error
    with pytest.raises(LoadError) as caught:
        load(worker_start(runtime="recording"))
    assert caught.value.message.startswith(words)
    assert runtime.calls[-1] == "unload"


@pytest.mark.parametrize("error", [Unsupported("not here"), InvalidRequest("not so")])
def test_what_is_wrong_with_a_configuration_keeps_its_code(runtime, error):
    runtime.raises = error
    with pytest.raises(type(error)) as caught:
        load(worker_start(runtime="recording"))
    assert caught.value is error
    assert runtime.calls[-1] == "unload"


def test_a_configuration_that_nothing_completed_is_checked(runtime):
    text = '{"name":"m","backend":"recording","input":[{"name":"x","dims":[1]}]}'
    start = worker_start(runtime="recording", config_json=text, complete_config=True)
    with pytest.raises(InvalidRequest, match="model input 'x' must specify 'data_type' for m"):
        load(start)
    assert runtime.calls[-1] == "unload"


def test_an_unknown_runtime_fails_the_load():
    with pytest.raises(InvalidRequest, match="unable to find backend library for backend 'what'"):
        load(worker_start(runtime="what"))
