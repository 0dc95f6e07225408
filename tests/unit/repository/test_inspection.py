"""What an inspection of repositories finds."""

import pytest

from mpserve.model.definition import ConfigFormat
from mpserve.repository import ScanOptions
from mpserve.repository.inspection import RuntimeChecks, Severity, inspect

PYTHON = 'backend: "python"\n'
NO_CHECKS = RuntimeChecks(
    files=lambda _definition, _version: (), config=lambda _definition, _version: ()
)


@pytest.fixture
def look(root):
    def inspect_root(checks=NO_CHECKS, **options):
        return inspect([str(root)], ScanOptions(**options), checks=checks)

    return inspect_root


def told(found, severity=Severity.ERROR):
    return [
        (one.model, one.path.rpartition("models/")[2], one.line)
        for one in found.findings
        if one.severity is severity
    ]


def test_a_sound_repository_has_no_findings(write, look):
    write({"a/config.pbtxt": PYTHON, "a/1/model.py": "", "b/3/model.py": ""})
    found = look()
    assert found.findings == ()
    assert [(one.name, one.runtime, one.versions) for one in found.models] == [
        ("a", "python", ("1",)),
        ("b", "python", ("3",)),
    ]


def test_a_configuration_that_does_not_parse_is_told_with_its_line(write, look):
    write({"a/config.pbtxt": PYTHON + "\nmax_batch: 3\n", "a/1/model.py": ""})
    assert told(look()) == [("a", "a/config.pbtxt", 3)]


def test_an_invalid_value_is_told_with_its_line(write, look):
    write({"a/config.pbtxt": PYTHON + "max_batch_size: -3\n", "a/1/model.py": ""})
    assert told(look()) == [("a", "a/config.pbtxt", 2)]


def test_each_broken_model_is_told(write, look):
    write({"a/config.pbtxt": PYTHON, "b/config.pbtxt": "}", "b/1/model.py": ""})
    assert [model for model, _, _ in told(look())] == ["a", "b"]


def test_custom_configurations_are_read_too(write, look):
    write({"a/config.pbtxt": PYTHON, "a/1/model.py": "", "a/configs/big.pbtxt": "\nx: 1"})
    assert told(look()) == [("a", "a/configs/big.pbtxt", 2)]


def test_an_ignored_version_directory_is_a_warning(write, look):
    write({"a/config.pbtxt": PYTHON, "a/1/model.py": "", "a/old/model.py": ""})
    assert told(look(), Severity.WARNING) == [("a", "a/config.pbtxt", None)]
    assert told(look()) == []


def test_a_missing_label_file_is_told_with_its_line(write, look):
    output = 'output [ { name: "Y" data_type: TYPE_FP32 dims: 1\nlabel_filename: "l.txt" } ]'
    write({"a/config.pbtxt": PYTHON + output, "a/1/model.py": ""})
    assert told(look()) == [("a", "a/config.pbtxt", 3)]
    write({"a/l.txt": "one"})
    assert told(look()) == []


def test_the_format_that_is_not_used_is_a_warning(write, look):
    settings = '{"name": "a", "implementation": "m.M"}'
    write({"a/config.pbtxt": PYTHON, "a/1/model.py": "", "a/model-settings.json": settings})
    assert told(look(), Severity.WARNING) == [("a", "a/model-settings.json", None)]
    found = look(format=ConfigFormat.MLSERVER)
    assert told(found, Severity.WARNING) == [("a", "a/config.pbtxt", None)]


def test_a_field_that_model_settings_do_not_have_is_a_warning_with_its_line(write, look):
    write({"a/model-settings.json": '{"name": "a",\n"implementation": "m.M",\n"paralel": 2}'})
    found = look(format=ConfigFormat.MLSERVER)
    assert told(found, Severity.WARNING) == [("a", "a/model-settings.json", 3)]


def test_broken_model_settings_are_told_with_their_line(write, look):
    write({"a/model-settings.json": '{"name": "a",\n"implementation": 3}'})
    assert told(look(format=ConfigFormat.MLSERVER)) == [("a", "a/model-settings.json", 2)]


def test_a_folder_that_mlserver_does_not_see_is_a_warning(write, look):
    write({"a/readme.txt": ""})
    assert told(look(format=ConfigFormat.MLSERVER), Severity.WARNING) == [("", "a", None)]


def test_a_configuration_beside_the_model_folders_is_a_warning(write, look):
    write({"config.pbtxt": PYTHON, "a/1/model.py": ""})
    assert told(look(), Severity.WARNING) == [("", "config.pbtxt", None)]


def test_each_place_of_a_duplicate_is_told(write, root, tmp_path):
    write({"a/1/model.py": ""})
    other = tmp_path / "other" / "a" / "1"
    other.mkdir(parents=True)
    (other / "model.py").touch()
    roots = [str(root), str(tmp_path / "other")]
    found = inspect(roots, ScanOptions(), checks=NO_CHECKS)
    assert [one.path for one in found.findings] == [f"{path}/a" for path in sorted(roots)]
    assert all("not unique" in one.message for one in found.findings)


def test_a_root_that_is_not_there_is_an_error(tmp_path):
    found = inspect([str(tmp_path / "no")], ScanOptions(), checks=NO_CHECKS)
    assert found.count(Severity.ERROR) == 1


def test_every_version_that_would_be_served_is_checked(write, look):
    config = PYTHON + "version_policy { all {} }"
    write({"a/config.pbtxt": config, "a/1/model.py": "", "a/2/model.py": ""})
    seen = []

    def check(definition, version):
        seen.append((definition.name, version.version))
        return ()

    look(RuntimeChecks(files=check, config=lambda _definition, _version: ()))
    assert seen == [("a", "1"), ("a", "2")]


ENSEMBLE = """platform: "ensemble"
input [ { name: "X" data_type: TYPE_FP32 dims: 1 } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: 1 } ]
ensemble_scheduling { step [ {
  model_name: "a" model_version: %d
  input_map { key: "IN" value: "X" }
  output_map { key: "OUT" value: "Y" }
} ] }
"""


def test_an_ensemble_needs_its_models(write, look):
    write({"e/config.pbtxt": ENSEMBLE % -1, "e/1/keep": ""})
    assert told(look()) == [("e", "e/config.pbtxt", 5)]
    write({"a/1/model.py": ""})
    assert told(look()) == []


def test_an_ensemble_needs_the_version_that_it_names(write, look):
    write({"e/config.pbtxt": ENSEMBLE % 2, "e/1/keep": "", "a/1/model.py": ""})
    assert told(look()) == [("e", "e/config.pbtxt", 5)]
    write({"a/2/model.py": ""})
    assert told(look()) == []


def test_a_missing_warm_up_file_is_told_with_its_line(write, look):
    sample = 'model_warmup { name: "s" batch_size: 1 inputs { key: "x" value {\n' + (
        'data_type: TYPE_FP32 dims: 1 input_data_file: "x.bin" } } }'
    )
    write({"a/config.pbtxt": PYTHON + sample, "a/1/model.py": ""})
    assert told(look()) == [("a", "a/config.pbtxt", 3)]
    write({"a/warmup/x.bin": "0000"})
    assert told(look()) == []
