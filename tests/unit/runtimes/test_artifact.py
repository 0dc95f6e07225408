import msgspec
import pytest

from mpserve.errors import LoadError
from mpserve.model.config import ModelConfig
from mpserve.runtimes.artifact import find_artifact

from .plain import mlserver_context, triton_context

NAMES = ("model.joblib", "model.pkl")


def find(context):
    return find_artifact(context, default_files=NAMES)


@pytest.mark.parametrize("uri", ["./weights.bin", "weights.bin", "{folder}/weights.bin"])
def test_a_uri_is_relative_to_the_folder_of_the_settings(tmp_path, uri):
    (tmp_path / "weights.bin").touch()
    settings = {"parameters": {"uri": uri.format(folder=tmp_path)}}
    assert find(mlserver_context(tmp_path, settings)) == tmp_path / "weights.bin"


def test_a_uri_may_be_a_file_url(tmp_path):
    (tmp_path / "weights.bin").touch()
    settings = {"parameters": {"uri": f"file://{tmp_path}/weights.bin"}}
    assert find(mlserver_context(tmp_path, settings)) == tmp_path / "weights.bin"


@pytest.mark.parametrize("settings", [{}, {"parameters": {}}, {"parameters": {"uri": "."}}])
def test_without_a_file_in_the_uri_the_first_well_known_name_wins(tmp_path, settings):
    (tmp_path / "model.pkl").touch()
    assert find(mlserver_context(tmp_path, settings)) == tmp_path / "model.pkl"
    (tmp_path / "model.joblib").touch()
    assert find(mlserver_context(tmp_path, settings)) == tmp_path / "model.joblib"


def test_a_uri_of_another_machine_is_refused(tmp_path):
    with pytest.raises(LoadError, match="'s3://bucket/m' is not of this machine"):
        find(mlserver_context(tmp_path, {"parameters": {"uri": "s3://bucket/m"}}))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LoadError, match=r"there is no file '.*/nope\.bin'"):
        find(mlserver_context(tmp_path, {"parameters": {"uri": "nope.bin"}}))


def test_a_folder_without_a_model_is_refused_with_the_names_looked_for(tmp_path):
    with pytest.raises(LoadError, match=r"none of model\.joblib, model\.pkl lies in"):
        find(mlserver_context(tmp_path, {}))


def test_a_triton_model_lies_in_its_version_directory(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.pkl").touch()
    (tmp_path / "model.joblib").touch()
    assert find(triton_context(tmp_path)) == tmp_path / "1" / "model.pkl"


def test_the_default_model_filename_of_a_configuration_wins(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.pkl").touch()
    (tmp_path / "1" / "mine.pkl").touch()
    config = msgspec.structs.replace(ModelConfig(), default_model_filename="mine.pkl")
    assert find(triton_context(tmp_path, config=config)) == tmp_path / "1" / "mine.pkl"
