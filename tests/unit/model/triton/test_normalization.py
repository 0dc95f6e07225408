import pytest
from msgspec import UNSET

from mpserve.errors import InvalidRequest
from mpserve.model.triton.normalization import (
    fill_backend,
    normalize,
    normalize_instance_groups,
)
from mpserve.repository.triton.pbtxt import parse_text_config


def parsed(text):
    return parse_text_config(text, path="p")


@pytest.mark.parametrize(
    ("text", "entries", "backend", "platform", "filename"),
    [
        ("", ["model.py"], "python", "", "model.py"),
        ("", ["model.onnx"], "onnxruntime", "onnxruntime_onnx", "model.onnx"),
        ("", ["model.plan", "model.py"], "tensorrt", "tensorrt_plan", "model.plan"),
        ("", ["model.xml"], "openvino", "", "model.xml"),
        ("", ["model.pt"], "pytorch", "pytorch_libtorch", "model.pt"),
        ("", ["model.pt2"], "pytorch", "torch_aoti", "model.pt2"),
        ("", ["model.savedmodel"], "tensorflow", "tensorflow_savedmodel", "model.savedmodel"),
        ("", ["model.graphdef"], "tensorflow", "tensorflow_graphdef", "model.graphdef"),
        ("", ["model.joblib"], "sklearn", "", "model.joblib"),
        ("", ["model.bst"], "xgboost", "", "model.bst"),
        ('backend: "python"', ["model.onnx"], "python", "", "model.py"),
        ('backend: "python"', [], "python", "", "model.py"),
        ('platform: "onnxruntime_onnx"', [], "onnxruntime", "onnxruntime_onnx", "model.onnx"),
        ('platform: "libtorch"', ["model.py"], "pytorch", "libtorch", "model.pt"),
        ('default_model_filename: "model.py"', [], "python", "", "model.py"),
        (
            'backend: "python" default_model_filename: "main.py"',
            ["model.py"],
            "python",
            "",
            "main.py",
        ),
        ('backend: "own"', ["model.py"], "own", "", ""),
        ('name: "a.own.x"', [], "own.x", "", "model.own.x"),
        ('name: "a.own"', ["model.py"], "python", "", "model.py"),
        ('platform: "ensemble" ensemble_scheduling {}', ["model.py"], "", "ensemble", ""),
    ],
)
def test_backend_is_filled_by_the_first_row_that_applies(
    text, entries, backend, platform, filename
):
    filled = fill_backend(parsed(text), version_entries=entries)
    assert (filled.backend, filled.platform) == (backend, platform)
    assert filled.default_model_filename == filename


@pytest.mark.parametrize("name", ["m", "m.", ""])
def test_a_model_of_which_nothing_is_known_is_refused(name):
    with pytest.raises(InvalidRequest) as refused:
        fill_backend(parsed(f'name: "{name}"'), version_entries=["data.bin"])
    assert str(refused.value) == (
        f"Invalid model name: Could not determine backend for model '{name}' with no backend in "
        "model configuration. Expected model name of the form 'model.<backend_name>'."
    )


def test_the_default_policy_is_the_latest_version():
    policy = normalize(parsed("")).version_policy
    assert policy.latest.num_versions == 1
    assert normalize(parsed("version_policy { all {} }")).version_policy.latest is UNSET
    assert normalize(parsed("version_policy {}")).version_policy.latest.num_versions == 1


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("max_batch_size: 8 dynamic_batching {}", (8,)),
        ("max_batch_size: 8 dynamic_batching { preferred_batch_size: [2, 4] }", (2, 4)),
        ("dynamic_batching {}", ()),
    ],
)
def test_preferred_sizes_default_to_the_largest_batch(text, sizes):
    assert normalize(parsed(text)).dynamic_batching.preferred_batch_size == sizes


def test_sequence_defaults_are_written():
    sequence = normalize(parsed("max_batch_size: 4 sequence_batching { oldest {} }"))
    assert sequence.sequence_batching.max_sequence_idle_microseconds == 1_000_000
    assert sequence.sequence_batching.oldest.preferred_batch_size == (4,)


def test_pinned_memory_is_on_unless_it_was_said_otherwise():
    policy = normalize(parsed("optimization { input_pinned_memory {} }")).optimization
    assert not policy.input_pinned_memory.enable
    assert policy.output_pinned_memory.enable
    assert normalize(parsed('platform: "ensemble"')).optimization is UNSET


def test_a_second_normalization_changes_nothing():
    once = normalize(parsed("max_batch_size: 4 dynamic_batching {}"))
    assert normalize(once) == once


@pytest.mark.parametrize(
    ("text", "gpus", "groups"),
    [
        ("", (), [("m", "KIND_CPU", 1, ())]),
        ("", (0, 1), [("m", "KIND_GPU", 1, (0, 1))]),
        ('backend: "onnxruntime"', (), [("m", "KIND_CPU", 2, ())]),
        (
            'instance_group [{ count: 3 }, { name: "g" kind: KIND_CPU count: 0 }]',
            (),
            [("m_0", "KIND_CPU", 3, ()), ("g", "KIND_CPU", 1, ())],
        ),
        ("instance_group { count: -5 }", (), [("m_0", "KIND_CPU", 1, ())]),
        ("instance_group { kind: KIND_MODEL }", (0,), [("m_0", "KIND_MODEL", 1, ())]),
        ("instance_group { gpus: 7 }", (0,), [("m_0", "KIND_CPU", 1, (7,))]),
        ("instance_group { kind: KIND_GPU }", (), [("m_0", "KIND_GPU", 1, ())]),
    ],
)
def test_instance_groups_are_named_and_resolved(text, gpus, groups):
    config = normalize_instance_groups(parsed(f'name: "m" {text}'), gpus=gpus)
    assert [
        (group.name, group.kind.value, group.count, group.gpus) for group in config.instance_group
    ] == groups


def test_ensembles_have_no_instance_groups():
    config = parsed('name: "m" platform: "ensemble"')
    assert normalize_instance_groups(config, gpus=()).instance_group == ()
