"""How custom models of MLServer are loaded and unloaded."""

import json

import numpy as np
import pytest

from mpserve.errors import LoadError
from mpserve.model.tensor import Datatype
from tests.unit.runtimes.mlserver.models import ECHO, context_of, write
from tests.unit.runtimes.plain import (
    PlainRequest,
    outputs,
    tensor,
)


def test_a_load_that_returns_nothing_has_loaded(load):
    loading = "\n    async def load(self):\n        self.loaded = 1\n"
    assert outputs(load(ECHO + loading)(tensor("x", np.zeros(1))))


def test_what_a_model_says_of_itself_is_told(load, runtime, folder):
    source = """
    class Model(MLModel):
        async def load(self):
            self.inputs = [types.MetadataTensor(name="x", datatype="FP32", shape=[-1])]
    """
    write(folder, source)
    completed = runtime.load(context_of(folder, platform="mine"))
    assert json.loads(completed.config.metadata_json) == {
        "name": "m",
        "platform": "mine",
        "versions": [],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [],
        "parameters": {},
    }


def test_a_model_that_can_not_say_what_it_is_serves_all_the_same(runtime, folder):
    write(folder, ECHO + "\n    async def metadata(self):\n        raise RuntimeError('no')\n")
    assert runtime.load(context_of(folder)).config.metadata_json == ""
    assert outputs(runtime.execute([PlainRequest(tensor("x", np.zeros(1)))])[0])


@pytest.mark.parametrize("returned", ["False", "0"])
def test_a_load_that_says_no_is_refused_with_the_reason(load, returned):
    source = f"""
    class Model(MLModel):
        async def load(self):
            return {returned}
    """
    with pytest.raises(LoadError, match=f"'their_model.Model' returned {returned}; return True"):
        load(source)


def test_a_model_that_did_not_load_is_not_asked_to_unload(load, runtime, folder):
    source = """
    import pathlib
    class Model(MLModel):
        async def load(self):
            raise ValueError("no weights")
        async def unload(self):
            pathlib.Path(self.settings.parameters.uri, "unload").touch()
    """
    with pytest.raises(LoadError, match="^ValueError: no weights$"):
        load(source)
    runtime.unload()
    assert not (folder / "unload").exists()


def test_an_implementation_that_is_not_there_is_an_error(folder, runtime):
    write(folder, ECHO)
    with pytest.raises(LoadError, match=r"no class 'Absent'|their_model\.Absent"):
        runtime.load(context_of(folder, implementation="their_model.Absent"))


def test_inputs_that_the_model_declares_while_loading_come_into_the_signature(folder, runtime):
    source = """
    class Model(MLModel):
        async def load(self):
            self.inputs = [types.MetadataTensor(name="x", datatype="FP32", shape=[-1, 4])]
            return True
    """
    write(folder, source)
    completed = runtime.load(context_of(folder))
    (spec,) = completed.config.signature.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("x", Datatype.FP32, (-1, 4))
    assert completed.config.signature.outputs == ()


def test_unload_is_awaited_and_ends_what_the_model_left_running(load, runtime, folder):
    source = """
    import pathlib
    class Model(MLModel):
        async def load(self):
            self.task = asyncio.create_task(self.turn())
            return True
        async def turn(self):
            try:
                await asyncio.Event().wait()
            finally:
                self.write("task")
        async def predict(self, payload):
            return self.encode_response(np.zeros(1))
        async def unload(self):
            self.write("unload")
            return True
        def write(self, name):
            pathlib.Path(self.settings.parameters.uri, name).touch()
    """
    infer = load(source)
    assert not infer(tensor("x", np.zeros(1))).has_error()
    runtime.unload()
    assert (folder / "unload").exists()
    assert (folder / "task").exists()


def test_modules_beside_the_model_are_imported_before_others(load, folder):
    write(folder, "WHERE = 'beside'", module="colorsys")
    source = """
    import importlib, sys
    sys.modules.pop("colorsys", None)
    import colorsys
    class Model(MLModel):
        async def predict(self, payload):
            return self.encode_response([colorsys.WHERE])
    """
    assert outputs(load(source)(tensor("x", np.zeros(1))))["output-1"].tolist() == [[b"beside"]]
