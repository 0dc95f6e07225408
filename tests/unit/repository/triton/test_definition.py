import os

import pytest

from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.config import BatchingPolicy, QueuePolicies, QueuePolicy
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.repository.found import ScanOptions
from mpserve.repository.snapshot import take_snapshot
from mpserve.repository.triton.definition import read_triton_model


@pytest.fixture
def read(root):
    def read_it(**options):
        return read_triton_model(
            take_snapshot(f"{root}/m"), name="m", options=ScanOptions(**options)
        )

    return read_it


@pytest.fixture
def model(write):
    write(
        {
            "m/config.pbtxt": "version_policy { all {} }",
            "m/1/model.py": "1",
            "m/2/model.py": "2",
            "m/labels.txt": "a",
        }
    )


def fingerprints(read):
    return {version.version: version.fingerprint for version in read().definition.versions}


def changed_versions(read, change):
    before = fingerprints(read)
    change()
    after = fingerprints(read)
    return sorted(version for version in after if after[version] != before.get(version))


def test_a_version_changes_with_its_own_files_only(model, write, read):
    assert changed_versions(read, lambda: write({"m/2/model.py": "longer"})) == ["2"]
    assert changed_versions(read, lambda: write({"m/2/data.bin": ""})) == ["2"]


def test_touching_a_file_changes_its_version(model, root, read):
    assert changed_versions(read, lambda: os.utime(root / "m/1/model.py", ns=(1, 1))) == ["1"]


@pytest.mark.parametrize("path", ["labels.txt", "helpers.py", "warmup/raw", "lib/a.so"])
def test_all_versions_change_with_shared_files(model, write, read, path):
    assert changed_versions(read, lambda: write({f"m/{path}": "new"})) == ["1", "2"]


def test_a_new_version_changes_no_other(model, write, read):
    assert changed_versions(read, lambda: write({"m/3/model.py": ""})) == ["3"]


def test_a_directory_with_leading_zeros_changes_no_version(model, write, read):
    assert changed_versions(read, lambda: write({"m/003/model.py": ""})) == []


@pytest.mark.parametrize(
    "text",
    [
        "version_policy { all {} } # a comment",
        "version_policy: { all: { } }",
        "version_policy { specific { versions: [1, 2] } }",
        "version_policy { all {} } instance_group { count: 3 }",
        'version_policy { all {} } backend: "python" name: "m"',
    ],
)
def test_configuration_counts_by_its_meaning(model, write, read, text):
    assert changed_versions(read, lambda: write({"m/config.pbtxt": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "version_policy { all {} } max_batch_size: 2",
        'version_policy { all {} } parameters { key: "a" value { string_value: "b" } }',
    ],
)
def test_every_other_field_changes_all_versions(model, write, read, text):
    assert changed_versions(read, lambda: write({"m/config.pbtxt": text})) == ["1", "2"]


def test_content_that_goes_back_is_what_it_was(model, write, read, root):
    before = fingerprints(read)
    (root / "m/1").rename(root / "away")
    assert set(fingerprints(read)) == {"2"}
    (root / "away").rename(root / "m/1")
    write({"m/config.pbtxt": "max_batch_size: 2"})
    write({"m/config.pbtxt": "version_policy { all {} }"})
    assert fingerprints(read) == before


def test_a_model_that_was_moved_is_another(model, root):
    options = ScanOptions()
    before = read_triton_model(take_snapshot(f"{root}/m"), name="m", options=options)
    (root / "m").rename(root / "n")
    after = read_triton_model(take_snapshot(f"{root}/n"), name="m", options=options)
    assert before.definition.versions[0].fingerprint != after.definition.versions[0].fingerprint


def test_the_snapshot_digest_changes_with_the_configuration_file(model, write, read):
    before = read().definition.snapshot_digest
    write({"m/config.pbtxt": "version_policy { all {} } # a comment"})
    assert read().definition.snapshot_digest != before


def test_a_custom_configuration_wins_where_it_is(model, write, read):
    write({"m/configs/big.pbtxt": "max_batch_size: 64"})
    assert read(config_name="big").definition.config.signature.max_batch_size == 64
    assert read(config_name="small").definition.config.signature.max_batch_size == 0


def test_the_configuration_is_summarized(write, read):
    write(
        {
            "m/1/model.py": "",
            "m/config.pbtxt": """
                max_batch_size: 8
                input { name: "x" data_type: TYPE_FP32 dims: [2, -1] optional: true }
                input { name: "r" data_type: TYPE_STRING dims: 1 allow_ragged_batch: true }
                output { name: "y" data_type: TYPE_BF16 dims: 3 label_filename: "l.txt" }
                output { name: "open" }
                dynamic_batching {
                  preferred_batch_size: [4, 2, 4]
                  max_queue_delay_microseconds: 100
                  default_queue_policy {
                    timeout_action: DELAY default_timeout_microseconds: 5
                    allow_timeout_override: true max_queue_size: 7
                  }
                }
                instance_group [{ count: 2 }, { name: "p" passive: true }]
                parameters { key: "a" value { string_value: "b" } }
                model_transaction_policy { decoupled: true }
            """,
        }
    )
    config = read().definition.config
    assert config.platform == "python"
    assert config.signature.inputs == (
        TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2, -1), optional=True),
        TensorSpec(name="r", datatype=Datatype.BYTES, shape=(-1, 1), ragged=True),
    )
    assert config.signature.outputs == (
        TensorSpec(name="y", datatype=Datatype.BF16, shape=(-1, 3)),
        TensorSpec(name="open", datatype=None, shape=None),
    )
    assert config.batching == BatchingPolicy(preferred_sizes=(2, 4), max_delay_us=100)
    assert config.queue_policies == QueuePolicies(
        general=QueuePolicy(
            max_queue_size=7,
            default_timeout_us=5,
            allow_timeout_override=True,
            delay_on_timeout=True,
        )
    )
    assert [(g.name, g.count, g.passive) for g in config.instance_groups] == [
        ("m_0", 2, False),
        ("p", 1, True),
    ]
    assert config.parameters == {"a": "b"}
    assert config.label_files == {"y": "l.txt"}
    assert config.decoupled


def test_what_a_model_that_declares_nothing_takes_is_for_its_runtime_to_say(write, read):
    write({"m/1/model.joblib": ""})
    definition = read().definition
    assert definition.auto_complete
    assert not definition.config.signature.open_inputs


def test_tensors_are_checked_at_once_when_nothing_completes_them(write, read):
    write({"m/1/model.py": "", "m/config.pbtxt": 'input { name: "x" }'})
    assert read().definition.auto_complete
    with pytest.raises(InvalidRequest, match="must specify 'data_type'"):
        read(auto_complete=False)


def test_missing_and_ignored_things_are_noted(write, read):
    write(
        {
            "m/1/model.py": "",
            "m/abc/x": "",
            "m/config.pbtxt": """
                version_policy { specific { versions: [1, 9] } }
                runtime: "model.py"
                batch_input { kind: BATCH_ELEMENT_COUNT }
                response_cache { enable: false }
                model_warmup [{ name: "cold" }, { name: "warm" batch_size: 1 }]
            """,
        }
    )
    assert read().notes == (
        "ignore version directory 'abc' which fails to convert to integral number",
        "version 9 is specified for model 'm', but the version directory is not present",
        "'batch_input' of model 'm' has no effect in this server",
        "'runtime' of model 'm' has no effect in this server",
        "warm-up sample 'cold' of model 'm' is skipped: its batch_size is 0;"
        " 1 is that of a model without batches",
    )


def test_batch_inputs_of_a_backend_that_acts_by_them_are_not_noted(write, read):
    config = """
        backend: "onnxruntime"
        input { name: "S" data_type: TYPE_FP32 dims: [-1] allow_ragged_batch: true }
        output { name: "O" data_type: TYPE_FP32 dims: [-1] }
        batch_input { target_name: "T" data_type: TYPE_INT32 source_input: "S" }
        batch_output { target_name: "O" source_input: "S" }
    """
    write({"m/1/model.onnx": "", "m/config.pbtxt": config})
    assert read().notes == ()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('model_repository_agents { agents { name: "checksum" } }', "model_repository_agents"),
        ('backend: "sklearn" batch_input { kind: BATCH_ELEMENT_COUNT }', "batch_input"),
        ('backend: "xgboost" batch_output { target_name: "x" }', "batch_output"),
    ],
)
def test_what_would_be_served_wrongly_is_refused(write, read, text, field):
    write({"m/1/model.py": "", "m/config.pbtxt": text})
    with pytest.raises(Unsupported, match=f"'{field}' of model 'm' is not supported"):
        read()
