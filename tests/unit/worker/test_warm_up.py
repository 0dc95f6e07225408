"""Requests that an instance makes for itself before it is ready."""

import json

import numpy as np
import pytest

from mpserve import _native
from mpserve.errors import InvalidRequest, MpserveError, RepositoryError, Unsupported
from mpserve.model.config import CompletedConfig, ModelConfig
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.worker.warm_up import warm_up

from .starts import worker_start

FLOATS = {"data_type": "TYPE_FP32", "dims": [3]}


class EchoRuntime:
    """Remembers what it is given; fails as `fault` says."""

    name = "echo"
    default_files = ()

    def __init__(self, fault=None):
        self.batches = []
        self.fault = fault

    def execute(self, requests):
        self.batches.append(
            [{one.name(): np.array(one.as_numpy()) for one in each.inputs()} for each in requests]
        )
        if isinstance(self.fault, BaseException):
            raise self.fault
        error = _native.TritonError(self.fault) if self.fault else None
        return [_native.InferenceResponse([], error) for _ in requests]

    def load(self, context):
        raise NotImplementedError

    def unload(self):
        raise NotImplementedError


@pytest.fixture
def run(tmp_path):
    """Warm up a runtime with one sample, whose inputs are `TYPE_*` dicts by name."""

    def run_it(inputs, *, fault=None, max_batch_size=0, **sample):
        runtime = EchoRuntime(fault)
        settings = {"name": "s", "batch_size": 1, "inputs": inputs} | sample
        specs = tuple(
            TensorSpec(
                name=name,
                datatype=Datatype.from_config_name(one.get("data_type", "TYPE_FP32")),
                shape=((-1,) if max_batch_size else ()) + (-1,) * len(one["dims"]),
            )
            for name, one in inputs.items()
        )
        config = ModelConfig(
            signature=Signature(
                inputs=specs, max_batch_size=max_batch_size, open_inputs=False, open_outputs=True
            )
        )
        completed = CompletedConfig(
            config=config, config_json=json.dumps({"name": "m", "model_warmup": [settings]})
        )
        warm_up(runtime, completed, worker_start(config=config, model_directory=str(tmp_path)))
        return runtime.batches

    return run_it


def test_a_model_without_warm_up_is_given_no_request():
    for text in ("", '{"name":"m","model_warmup":[]}'):
        runtime = EchoRuntime()
        warm_up(runtime, CompletedConfig(config=ModelConfig(), config_json=text), worker_start())
        assert runtime.batches == []


@pytest.mark.parametrize(
    "datatype", [one for one in Datatype if one not in {Datatype.BYTES, Datatype.BF16}]
)
@pytest.mark.parametrize("kind", ["zero_data", "random_data"])
def test_data_has_the_datatype_and_shape_of_the_sample(run, datatype, kind):
    ((request,),) = run({"x": {"data_type": datatype.config_name, "dims": [2, 3], kind: True}})
    assert request["x"].shape == (2, 3)
    assert request["x"].dtype.itemsize == datatype.item_bytes
    assert np.isfinite(request["x"]).all()
    if kind == "zero_data":
        assert not request["x"].any()


def test_random_data_is_random(run):
    inputs = {"x": {"data_type": "TYPE_INT64", "dims": [8], "random_data": True}}
    assert run(inputs)[0][0]["x"].tolist() != run(inputs)[0][0]["x"].tolist()


@pytest.mark.parametrize("kind", ["zero_data", "random_data"])
def test_texts_are_empty(run, kind):
    ((request,),) = run({"x": {"data_type": "TYPE_STRING", "dims": [2], kind: True}})
    assert request["x"].tolist() == [b"", b""]


def test_a_file_gives_the_data(run, tmp_path):
    (tmp_path / "warmup").mkdir()
    values = np.array([1.5, 2.5, 3.5, 9.0], dtype=np.float32)  # one more than is wanted
    (tmp_path / "warmup" / "x.bin").write_bytes(values.tobytes())
    (tmp_path / "warmup" / "t").write_bytes(b"\x02\0\0\0hi\0\0\0\0")
    text = {"data_type": "TYPE_STRING", "dims": [2], "input_data_file": "t"}
    ((request,),) = run({"x": FLOATS | {"input_data_file": "x.bin"}, "t": text})
    assert request["x"].tolist() == [1.5, 2.5, 3.5]
    assert request["t"].tolist() == [b"hi", b""]


def test_a_batch_is_executed_at_once_and_as_often_as_told(run):
    batches = run({"x": FLOATS | {"zero_data": True}}, max_batch_size=8, batch_size=4, count=3)
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert batches[0][0]["x"].shape == (1, 3)


def test_a_sample_of_batch_size_0_is_skipped(run):
    assert run({"x": FLOATS | {"zero_data": True}}, batch_size=0) == []


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [
        pytest.param(
            {"data_type": "TYPE_FP32", "dims": [-1], "zero_data": True},
            InvalidRequest,
            "warmup setting expects all variable-size dimensions are specified for input 'x'",
            id="a dimension is open",
        ),
        pytest.param(
            FLOATS,
            InvalidRequest,
            "warmup setting expects input 'x' to have input_data_type set",
            id="no data",
        ),
        pytest.param(
            FLOATS | {"input_data_file": "short"},
            InvalidRequest,
            "warmup setting expects 12 bytes, but the data provided from shortonly has 5 bytes",
            id="a short file",
        ),
        pytest.param(
            FLOATS | {"input_data_file": "none"}, RepositoryError, "failed to read", id="no file"
        ),
        pytest.param(
            FLOATS | {"input_data_file": "../short"}, InvalidRequest, "is outside", id="a way out"
        ),
        pytest.param(
            {"data_type": "TYPE_BF16", "dims": [1], "zero_data": True},
            Unsupported,
            "BF16",
            id="a datatype that numpy has not",
        ),
    ],
)
def test_a_sample_that_can_not_be_made_is_refused(run, tmp_path, wanted, kind, words):
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "short").write_bytes(b"12345")
    with pytest.raises(kind, match=words):
        run({"x": wanted})


def test_a_sample_that_does_not_fit_the_model_is_refused():
    sample = {"name": "s", "batch_size": 1, "inputs": {"x": FLOATS | {"zero_data": True}}}
    signature = Signature(
        inputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(3,)),), max_batch_size=0
    )
    config = ModelConfig(signature=signature)
    text = json.dumps({"name": "m", "model_warmup": [sample]})
    with pytest.raises(InvalidRequest, match="'x'"):
        warm_up(EchoRuntime(), CompletedConfig(config=config, config_json=text), worker_start())


@pytest.mark.parametrize("fault", ["went wrong", MpserveError("went wrong")])
def test_a_sample_that_fails_fails_the_load(run, fault):
    with pytest.raises(InvalidRequest) as caught:
        run({"x": FLOATS | {"zero_data": True}}, fault=fault)
    assert caught.value.message == "failed to run warmup sample 's': went wrong; "


def test_what_a_model_raises_is_told(run):
    with pytest.raises(InvalidRequest, match="failed to run warmup sample 's': SystemExit: 3"):
        run({"x": FLOATS | {"zero_data": True}}, fault=SystemExit(3))
