import msgspec
import pytest

from mpserve.errors import RepositoryError
from mpserve.repository.mlserver.model_settings import (
    MetadataTensor,
    parse_model_settings,
)

# The expected values below were printed by MLServer 1.7.1 for the same files and environment.
ENVIRONMENT = {
    "MLSERVER_MODEL_NAME": "envname",
    "MLSERVER_MODEL_MAX_BATCH_SIZE": "5",
    "MLSERVER_MODEL_VERSION": "ev",
    "MLSERVER_MODEL_URI": "/x",
    "MLSERVER_MODEL_PARALLEL_WORKERS": "2",
}


def parsed(text, environment=None):
    return parse_model_settings(
        text.encode(),
        path="/r/folder/model-settings.json",
        environment=environment or {},
        folder_name="folder",
    )


def fields(read):
    return msgspec.json.decode(read.settings_json)


def test_the_environment_fills_what_the_file_leaves_out():
    read = parsed('{"implementation": "a.B", "parallel_workers": 3, "foo": 1}', ENVIRONMENT)
    assert fields(read) == {
        "implementation": "a.B",
        "name": "envname",
        "parallel_workers": 3,
        "max_batch_size": 5,
        "parameters": {"uri": "/x", "version": "ev"},
    }


def test_the_file_wins_over_the_environment():
    text = '{"implementation": "a.B", "name": "fromfile", "parameters": {"version": "v1"}}'
    assert fields(parsed(text, ENVIRONMENT)) == {
        "implementation": "a.B",
        "name": "fromfile",
        "parallel_workers": 2,
        "max_batch_size": 5,
        "parameters": {"uri": "/x", "version": "v1"},
    }


def test_numbers_may_be_text_and_unknown_parameters_are_kept():
    text = """{"implementation": "a.B", "max_batch_size": "7", "max_batch_time": "0.5",
               "parallel_workers": "2", "parameters": {"extra": {"a": 1}, "zzz": 3}}"""
    read = parsed(text)
    assert read.settings.max_batch_size == 7
    assert read.settings.max_batch_time == 0.5
    assert read.settings.parallel_workers == 2
    assert fields(read)["parameters"] == {"extra": {"a": 1}, "zzz": 3}


def test_the_environment_alone_is_enough():
    read = parsed("{}", {"mlserver_model_implementation": "a.B"})
    assert read.settings.implementation == "a.B"
    assert read.settings.name == "folder"


def test_lists_in_the_environment_are_json():
    read = parsed(
        '{"implementation": "a.B"}',
        {"MLSERVER_MODEL_INPUTS": '[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]'},
    )
    assert read.settings.inputs == (MetadataTensor(name="x", datatype="FP32", shape=(-1, 2)),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "a"}', "missing required field `implementation`"),
        ("{bad", "malformed"),
        ("[1]", "Expected `object`"),
        ('{"implementation": "a.B", "max_batch_size": "x"}', "$.max_batch_size"),
        ('{"implementation": "a.B", "parameters": 3}', "$.parameters"),
        (
            '{"implementation": "a.B", "inputs": [{"name": "x", "datatype": "FOO", "shape": []}]}',
            "$.inputs[0].datatype",
        ),
        ('{"implementation": null}', "$.implementation"),
        ('{"a":' * 5000, ""),
    ],
)
def test_invalid_settings_are_refused_with_their_path(text, reason):
    with pytest.raises(RepositoryError) as refused:
        parsed(text)
    message = str(refused.value)
    assert message.startswith("failed to load model settings at /r/folder/model-settings.json: ")
    assert reason in message


def test_fields_that_are_not_known_are_named():
    read = parsed('{"implementation": "a.B", "$schema": "x", "paralel": 1, "other": {}}')
    assert read.unknown == ("paralel", "other")
