from pathlib import Path

import pytest

from mpserve.errors import (
    AlreadyExists,
    ErrorCode,
    Failure,
    InvalidRequest,
    LoadError,
    ModelNotFound,
    RepositoryError,
    Unsupported,
)
from mpserve.repository import (
    Override,
    ScanOptions,
    VersionsRefused,
    discard,
    scan,
    scan_model,
)

SKLEARN = '{"implementation": "mlserver_sklearn.SKLearnModel", "name": "svm"}'


@pytest.fixture
def load(root):
    def load_it(name="m", override=None, **options):
        return scan_model(name, [str(root)], ScanOptions(**options), override)

    return load_it


def test_one_model_is_what_a_whole_scan_finds(write, scan_root, load):
    write({"m/1/model.py": "", "m/config.pbtxt": "max_batch_size: 2", "n/1/model.py": ""})
    assert load("m") == scan_root().definitions["m"]


def test_a_model_is_found_by_the_name_in_its_settings(write, scan_root, load):
    write({"deep/down/model-settings.json": SKLEARN})
    assert load("svm") == scan_root().definitions["svm"]
    with pytest.raises(ModelNotFound):
        load("down")


def test_an_unknown_model_is_not_found(load):
    with pytest.raises(ModelNotFound, match=r"^model not found in any model repository\.$"):
        load("nope")


def test_a_model_may_be_in_a_root_that_can_not_be_read(write, root):
    with pytest.raises(RepositoryError, match="failed to stat file /no/such/root"):
        scan_model("m", [str(root), "/no/such/root"], ScanOptions())
    write({"m/1/model.py": ""})
    assert scan_model("m", [str(root), "/no/such/root"], ScanOptions()).name == "m"


def test_what_an_earlier_scan_saw_of_an_unreadable_root_is_not_loaded(write, root, tmp_path):
    write({"deep/down/model-settings.json": SKLEARN})
    before = scan([str(root)], None, ScanOptions())
    root.rename(tmp_path / "away")
    with pytest.raises(RepositoryError, match="failed to stat file"):
        scan_model("svm", [str(root)], ScanOptions(), previous=before)


def test_a_duplicate_can_not_be_loaded(write, root):
    write({"a/m/1/model.py": "", "b/m/1/model.py": ""})
    with pytest.raises(AlreadyExists, match="not unique across all model repositories"):
        scan_model("m", [f"{root}/a", f"{root}/b"], ScanOptions())


def test_an_invalid_configuration_says_why(write, load):
    write({"m/1/model.py": "", "m/config.pbtxt": 'name: "other"'})
    with pytest.raises(InvalidRequest) as refused:
        load()
    assert str(refused.value) == (
        "unexpected directory name 'm' for model 'other', directory name must equal model name"
    )


def test_a_missing_configuration_is_refused_when_nothing_completes_it(write, load, root):
    write({"m/1/model.py": ""})
    with pytest.raises(RepositoryError) as refused:
        load(auto_complete=False)
    assert str(refused.value) == (
        f"failed to open text file for read {root}/m/config.pbtxt: No such file or directory"
    )


def test_no_version_is_an_error_of_the_load(write, load):
    write({"m/config.pbtxt": 'backend: "python"'})
    with pytest.raises(LoadError, match="at least one version must be available"):
        load()


def test_instance_groups_that_can_not_be_are_an_error_of_the_load(write, load):
    write({"m/1/model.py": "", "m/config.pbtxt": "instance_group { kind: KIND_GPU }"})
    with pytest.raises(VersionsRefused) as refused:
        load()
    assert str(refused.value) == (
        "version 1 is at UNAVAILABLE state: Invalid argument: instance group m_0 of model m has "
        "kind KIND_GPU but server does not support GPUs;"
    )
    refusal = refused.value.refusal
    assert refusal.versions == ("1",)
    assert refusal.reason == Failure(
        code=ErrorCode.INVALID_ARGUMENT,
        message="instance group m_0 of model m has kind KIND_GPU but server does not support GPUs",
    )
    group = load(gpus=(0, 1)).config.instance_groups[0]
    assert group.kind.value == "KIND_GPU"


@pytest.mark.parametrize("name", ["", "  ", "..", "a/b"])
def test_names_that_can_not_be_are_refused(load, name):
    with pytest.raises(InvalidRequest):
        load(name)


# --- overrides ----------------------------------------------------------------------------------


def test_a_configuration_override_replaces_the_whole_file(write, load):
    write({"m/1/model.py": "", "m/2/model.py": "", "m/config.pbtxt": "max_batch_size: 2"})
    override = Override(
        config='{"backend": "python", "versionPolicy": {"specific": {"versions": ["1"]}}}'
    )
    definition = load(override=override)
    assert definition.config.signature.max_batch_size == 0
    assert [version.version for version in definition.versions] == ["1"]
    assert not definition.temporary


def test_an_override_does_not_change_what_the_files_looked_like(write, load, root):
    write({"m/1/model.py": "", "m/config.pbtxt": ""})
    plain = load()
    overridden = load(override=Override(config='{"backend": "python", "max_batch_size": 3}'))
    assert overridden.snapshot_digest == plain.snapshot_digest
    assert overridden.versions != plain.versions
    (root / "m/config.pbtxt").write_text("# touched")
    assert load().snapshot_digest != plain.snapshot_digest


def test_an_override_needs_a_model_that_is_there(load):
    with pytest.raises(ModelNotFound):
        load(override=Override(config='{"backend": "python"}'))


def test_a_broken_file_does_not_matter_to_an_override(write, load):
    write({"m/1/model.py": "", "m/config.pbtxt": "nonsense"})
    assert load(override=Override(config='{"backend": "python"}')).runtime == "python"


def test_an_invalid_override_is_named(write, load):
    write({"m/1/model.py": ""})
    with pytest.raises(InvalidRequest, match="^Invalid config override: "):
        load(override=Override(config='{"nonsense": 1}'))


def test_model_settings_can_not_be_overridden(write, load):
    write({"svm/model-settings.json": SKLEARN})
    with pytest.raises(Unsupported, match=r"described by model-settings\.json"):
        load("svm", override=Override(config='{"backend": "python"}'))


def test_files_make_a_model_without_the_repository(load, tmp_path):
    override = Override(config='{"backend": "python"}', files={"7/model.py": b"x"})
    definition = load("new", override=override, override_directory=str(tmp_path))
    assert definition.temporary
    assert Path(definition.directory).parent == tmp_path
    assert [version.version for version in definition.versions] == ["7"]
    assert Path(definition.versions[0].directory, "model.py").read_bytes() == b"x"
    discard(definition.directory)


def test_files_replace_the_model_of_the_repository(write, load, tmp_path):
    write({"m/1/model.py": ""})
    override = Override(config='{"backend": "python"}', files={"7/model.py": b"x"})
    definition = load(override=override, override_directory=str(tmp_path))
    assert [version.version for version in definition.versions] == ["7"]


@pytest.mark.parametrize(
    "config", ["", "{", '{"name": "other", "backend": "python"}', '{"nonsense": 1}']
)
def test_a_refused_file_override_leaves_nothing_behind(load, tmp_path, root, config):
    override = Override(config=config, files={"1/model.py": b""})
    with pytest.raises(InvalidRequest):
        load(override=override, override_directory=str(tmp_path))
    assert list(tmp_path.iterdir()) == [root]
