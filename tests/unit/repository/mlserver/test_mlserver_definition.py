import json

import pytest

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.model.config import BatchingPolicy
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.repository.found import ScanOptions
from mpserve.repository.mlserver.definition import read_mlserver_model
from mpserve.repository.snapshot import take_snapshot
from mpserve.scheduling.shared_weights import shares_weights


@pytest.fixture
def read(root, write):
    def read_it(folder="m", **settings):
        text = json.dumps({"implementation": "a.B"} | settings)
        write({f"{folder}/model-settings.json": text})
        return read_mlserver_model(take_snapshot(f"{root}/{folder}"), options=ScanOptions())

    return read_it


@pytest.mark.parametrize(
    ("implementation", "runtime"),
    [
        ("mlserver_sklearn.SKLearnModel", "sklearn"),
        ("mlserver_xgboost.XGBoostModel", "xgboost"),
        ("mlserver_lightgbm.LightGBMModel", "lightgbm"),
        ("onnxruntime", "onnxruntime"),
        ("model.MyModel", "mlserver"),
    ],
)
def test_the_implementation_decides_the_runtime(read, implementation, runtime):
    assert read(implementation=implementation).definition.runtime == runtime


def test_weights_may_be_shared_by_the_workers(read):
    extra = {"extra": {"mpserve_share_weights": True}}
    assert shares_weights(read(parameters=extra).definition.config)
    assert not shares_weights(read().definition.config)


@pytest.mark.parametrize(
    ("workers", "of_the_server", "count"),
    [
        pytest.param(None, 1, 1, id="nothing said"),
        pytest.param(0, 1, 1, id="in the server's process"),
        pytest.param(1, 1, 1, id="one"),
        pytest.param(4, 1, 4, id="several"),
        pytest.param(None, 3, 3, id="of the server"),
        pytest.param(None, 0, 1, id="in the server's process, for all models"),
        pytest.param(1, 3, 1, id="its own number before that of the server"),
        pytest.param(0, 3, 1, id="its own 0 before that of the server"),
    ],
)
def test_parallel_workers_are_instances(root, write, workers, of_the_server, count):
    settings = {"implementation": "a.B", "parallel_workers": workers}
    write({"m/model-settings.json": json.dumps(settings)})
    options = ScanOptions(parallel_workers=of_the_server)
    model = read_mlserver_model(take_snapshot(f"{root}/m"), options=options)
    (group,) = model.definition.config.instance_groups
    assert group.count == count


@pytest.mark.parametrize(
    ("size", "seconds", "batching"),
    [
        (0, 0.5, None),
        (1, 0.5, None),
        (8, 0, None),
        (
            8,
            0.5,
            BatchingPolicy(max_requests=8, preferred_sizes=(8,), max_delay_us=500_000),
        ),
    ],
)
def test_batching_needs_both_a_size_and_a_time(read, size, seconds, batching):
    config = read(max_batch_size=size, max_batch_time=seconds).definition.config
    assert config.batching == batching


def test_a_model_that_declares_nothing_takes_everything(read):
    signature = read().definition.config.signature
    assert signature.open_inputs
    assert signature.open_outputs


def test_declared_inputs_are_the_signature(read):
    signature = read(
        inputs=[{"name": "x", "datatype": "BYTES", "shape": [-1, 2]}]
    ).definition.config.signature
    assert not signature.open_inputs
    assert signature.inputs == (TensorSpec(name="x", datatype=Datatype.BYTES, shape=(-1, 2)),)


def test_the_folder_names_a_model_and_its_version_is_a_parameter(read, root):
    definition = read(parameters={"version": "v0.1.0"}).definition
    assert definition.name == "m"
    (version,) = definition.versions
    assert version.version == "v0.1.0"
    assert version.directory == definition.directory == f"{root}/m"
    assert read().definition.versions[0].version == ""


@pytest.mark.parametrize("workers", [65, 100_000])
def test_more_workers_than_a_queue_can_have_are_refused(read, workers):
    with pytest.raises(InvalidRequest, match=f"'parallel_workers' of model 'm' is {workers}, at"):
        read(parallel_workers=workers)


def test_files_and_settings_change_the_fingerprint_but_the_workers_do_not(read, write):
    def fingerprint(**settings):
        return read(**settings).definition.versions[0].fingerprint

    first = fingerprint(parallel_workers=1)
    assert fingerprint(parallel_workers=2) == first
    assert fingerprint(max_batch_size=2) != first
    write({"m/model.joblib": "x"})
    assert fingerprint(parallel_workers=1) != first


def test_another_name_than_the_folders_is_noted(read):
    assert read(name="n").notes == ("Model name 'n' is different than model's folder name 'm'.",)
    assert read("m/v1", name="m", parameters={"version": "v1"}).notes == ()


@pytest.mark.parametrize("name", ["a/b", "..", " "])
def test_a_name_that_can_not_be_is_refused(read, name):
    with pytest.raises(InvalidRequest):
        read(name=name)


def test_settings_that_vanish_before_they_are_read_are_an_error(root, write):
    write({"m/model-settings.json": "{}"})
    snapshot = take_snapshot(f"{root}/m")
    (root / "m/model-settings.json").unlink()
    with pytest.raises(RepositoryError, match="failed to read .*model-settings.json: No such file"):
        read_mlserver_model(snapshot, options=ScanOptions())


@pytest.mark.parametrize("uri", ["model.joblib", "./sub", "s3://bucket/model", "gone.joblib"])
def test_a_uri_within_the_folder_or_far_away_is_not_external(read, uri):
    assert read(parameters={"uri": uri}).external == ()


def test_a_folder_named_by_the_uri_is_external(read, write, root):
    write({"store/a": "1", "store/b": "2"})
    found = read(parameters={"uri": "../store"})
    assert [stamp.path for stamp in found.external] == ["a", "b"]
    assert read(parameters={"uri": f"file://{root}/store/a"}).external[0].size_bytes == 1
