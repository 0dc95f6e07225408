import shutil
from pathlib import Path

import pytest

from mpserve.errors import ErrorCode
from mpserve.model.definition import ConfigFormat
from mpserve.repository import ScanOptions, scan

SKLEARN = '{"implementation": "mlserver_sklearn.SKLearnModel"}'
MLSERVER = ConfigFormat.MLSERVER


def versioned(version: str) -> str:
    return f'{{"name": "m", "implementation": "a.B", "parameters": {{"version": "{version}"}}}}'


def test_both_formats_are_found_in_one_root(write, scan_root):
    write(
        {
            "simple/1/model.py": "",
            "simple/config.pbtxt": "max_batch_size: 4",
            "bare/1/model.py": "",
            "svm/model-settings.json": SKLEARN,
            "group/deep/down/model-settings.json": SKLEARN,
            "README.md": "not a model",
        }
    )
    result = scan_root()
    assert result.names == ("bare", "down", "simple", "svm")
    assert result.broken == {}
    formats = {name: definition.format for name, definition in result.definitions.items()}
    assert formats == {
        "bare": ConfigFormat.TRITON,
        "simple": ConfigFormat.TRITON,
        "svm": MLSERVER,
        "down": MLSERVER,
    }
    assert result.definitions["bare"].runtime == "python"
    assert result.definitions["svm"].runtime == "sklearn"


def test_a_broken_model_concerns_itself_only(write, scan_root):
    write({"good/1/model.py": "", "bad/1/model.py": "", "bad/config.pbtxt": "nonsense: 1"})
    result = scan_root()
    assert set(result.definitions) == {"good"}
    assert result.broken["bad"].code is ErrorCode.INTERNAL
    assert result.broken["bad"].message.startswith("failed to read text proto from ")
    assert result.names == ("bad", "good")


def test_an_unreadable_entry_concerns_its_model_only(write, scan_root, root):
    write({"good/1/model.py": "", "bad/1/model.py": ""})
    (root / "bad/1/loop").symlink_to(root / "bad/1/loop")
    result = scan_root()
    assert set(result.definitions) == {"good"}
    assert "bad/1/loop" in result.broken["bad"].message


def test_a_link_that_leads_nowhere_is_a_broken_model(write, scan_root, root):
    write({"good/1/model.py": ""})
    (root / "gone").symlink_to(root / "nowhere")
    result = scan_root()
    assert set(result.definitions) == {"good"}
    assert result.broken["gone"].message == f"failed to stat file {root}/gone"


def test_a_linked_model_directory_is_a_model(write, scan_root, root, tmp_path):
    (tmp_path / "elsewhere/1").mkdir(parents=True)
    (tmp_path / "elsewhere/1/model.py").write_text("")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert set(scan_root().definitions) == {"linked"}


def test_a_hidden_directory_is_a_model_in_tritons_dialect_only(write, scan_root):
    write({".hidden/notes.txt": "", "m/1/model.py": ""})
    assert scan_root().names == (".hidden", "m")
    assert scan_root(format=MLSERVER).names == ("m",)


def test_a_model_without_versions_fails_as_a_load(write, scan_root):
    write({"m/config.pbtxt": 'backend: "python"'})
    failure = scan_root().broken["m"]
    assert failure.code is ErrorCode.LOAD_FAILED
    assert failure.message == (
        "at least one version must be available under the version policy of model 'm'"
    )


def test_one_name_in_two_roots_is_a_duplicate(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name / "m/1").mkdir(parents=True)
        (tmp_path / name / "m/1/model.py").write_text("")
    (tmp_path / "a/other/1").mkdir(parents=True)
    (tmp_path / "a/other/1/model.py").write_text("")
    result = scan([f"{tmp_path}/b", f"{tmp_path}/a"], None, ScanOptions())
    assert result.duplicates == {"m": (f"{tmp_path}/a/m", f"{tmp_path}/b/m")}
    assert set(result.definitions) == {"other"}
    assert result.broken == {}
    assert result.names == ("m", "other")


def test_a_root_given_twice_counts_once(write, root):
    write({"m/1/model.py": ""})
    result = scan([str(root), str(root)], None, ScanOptions())
    assert set(result.definitions) == {"m"}


def test_an_unreadable_root_keeps_its_models(write, root, tmp_path):
    write({"m/1/model.py": ""})
    other = tmp_path / "other"
    (other / "n/1").mkdir(parents=True)
    (other / "n/1/model.py").write_text("")
    roots = [str(root), str(other)]
    before = scan(roots, None, ScanOptions())
    root.rename(tmp_path / "away")
    shutil.rmtree(other / "n")
    now = scan(roots, before, ScanOptions())
    assert now.definitions == {"m": before.definitions["m"]}
    assert now.unreadable_roots[str(root)].message.startswith(f"failed to stat file {root}")
    (tmp_path / "away").rename(root)
    back = scan(roots, now, ScanOptions())
    assert back.definitions == now.definitions
    assert back.unreadable_roots == {}


def test_a_duplicate_stays_one_while_one_of_its_roots_is_unreadable(tmp_path):
    roots = [f"{tmp_path}/a", f"{tmp_path}/b"]
    for path in roots:
        Path(path, "m/1").mkdir(parents=True)
    before = scan(roots, None, ScanOptions())
    (tmp_path / "a").rename(tmp_path / "away")
    assert set(scan(roots, before, ScanOptions()).duplicates) == {"m"}


def test_a_root_that_is_a_file_is_an_error(write, root):
    write({"file": ""})
    result = scan([f"{root}/file"], None, ScanOptions())
    failure = result.unreadable_roots[f"{root}/file"]
    assert failure.message == "repository path is not a valid directory"


def test_an_unchanged_scan_reuses_what_was_read(write, scan_root):
    write({"m/1/model.py": "", "s/model-settings.json": SKLEARN})
    first = scan_root()
    second = scan_root(first)
    assert second == first
    assert all(second.definitions[name] is first.definitions[name] for name in ("m", "s"))


def test_other_options_read_everything_again(write, scan_root):
    write({"m/1/model.py": "", "m/configs/b.pbtxt": "max_batch_size: 3"})
    first = scan_root()
    assert first.definitions["m"].config.signature.max_batch_size == 0
    second = scan_root(first, config_name="b")
    assert second.definitions["m"].config.signature.max_batch_size == 3


def test_a_changed_model_has_another_token_and_the_others_the_same(write, scan_root):
    write({"a/1/model.py": "", "b/1/model.py": ""})
    first = scan_root()
    write({"a/1/model.py": "x"})
    second = scan_root(first)
    assert second.tokens["a"] != first.tokens["a"]
    assert second.tokens["b"] == first.tokens["b"]


def test_a_removed_model_is_in_no_table(write, scan_root, root):
    write({"a/1/model.py": "", "b/1/model.py": ""})
    first = scan_root()
    shutil.rmtree(root / "a")
    second = scan_root(first)
    assert second.names == ("b",)
    assert "a" not in second.tokens


# --- MLServer's rules ---------------------------------------------------------------------------


def test_folders_without_model_files_are_nothing_in_mlservers_dialect(write, scan_root):
    write({"data/2024/numbers.csv": "", "notebooks/a.ipynb": "", "m/1/model.py": ""})
    assert scan_root(format=MLSERVER).names == ("m",)


def test_hidden_folders_hold_no_settings(write, scan_root):
    write({"m/.cache/model-settings.json": SKLEARN, "m/model-settings.json": SKLEARN})
    assert scan_root(format=MLSERVER).names == ("m",)


@pytest.mark.parametrize(
    ("own_format", "found"), [(ConfigFormat.TRITON, ConfigFormat.TRITON), (MLSERVER, MLSERVER)]
)
def test_the_dialect_decides_on_a_folder_with_both_files(write, scan_root, own_format, found):
    write(
        {"m/1/model.py": "", "m/config.pbtxt": "", "m/model-settings.json": SKLEARN},
    )
    assert scan_root(format=own_format).definitions["m"].format is found


def test_the_root_itself_may_be_a_model_in_mlservers_dialect(write, scan_root, root):
    write(
        {"model-settings.json": SKLEARN, "model.joblib": "", "other/model-settings.json": SKLEARN}
    )
    result = scan_root(format=MLSERVER)
    assert result.names == ("models", "other")
    assert result.definitions["models"].directory == str(root)
    assert scan_root().names == ("other",)


def test_the_model_in_the_root_does_not_change_with_its_neighbours(write, scan_root):
    write(
        {"model-settings.json": SKLEARN, "model.joblib": "", "other/model-settings.json": SKLEARN}
    )
    first = scan_root(format=MLSERVER)
    write({"other/model.joblib": "new", "settings.json": "{}"})
    second = scan_root(first, format=MLSERVER)
    own = first.definitions["models"].versions[0].fingerprint
    assert second.definitions["models"].versions[0].fingerprint == own
    assert second.tokens["other"] != first.tokens["other"]


def test_a_model_does_not_change_with_a_model_below_it(write, scan_root):
    write({"a/model-settings.json": SKLEARN, "a/b/model-settings.json": SKLEARN})
    first = scan_root()
    write({"a/b/model.joblib": "new"})
    second = scan_root(first)
    assert first.definitions["a"].versions == second.definitions["a"].versions
    assert first.definitions["b"].versions != second.definitions["b"].versions


def test_settings_of_equal_names_are_versions_of_one_model(write, scan_root):
    write(
        {
            "m/10/model-settings.json": versioned("10"),
            "m/9/model-settings.json": versioned("9"),
            "m/default/model-settings.json": '{"name": "m", "implementation": "c.D"}',
        }
    )
    result = scan_root()
    definition = result.definitions["m"]
    assert [version.version for version in definition.versions] == ["9", "10", ""]
    assert definition.versions[0].directory.endswith("/m/9")
    assert [version.own.settings_json for version in definition.versions] == [
        '{"implementation":"a.B","name":"m","parameters":{"version":"9"}}',
        '{"implementation":"a.B","name":"m","parameters":{"version":"10"}}',
        '{"implementation":"c.D","name":"m","parameters":{}}',
    ]


def test_settings_of_equal_names_and_versions_are_duplicates(write, scan_root):
    write({"a/model-settings.json": versioned("1"), "b/model-settings.json": versioned("1")})
    assert set(scan_root().duplicates) == {"m"}


def test_a_model_of_each_format_with_one_name_is_a_duplicate(write, scan_root):
    write({"m/1/model.py": "", "b/model-settings.json": versioned("1")})
    assert set(scan_root().duplicates) == {"m"}


def test_settings_that_become_unreadable_break_their_model_by_its_name(write, scan_root):
    write({"a/model-settings.json": versioned("1"), "b/model-settings.json": versioned("2")})
    first = scan_root()
    write({"a/model-settings.json": "{"})
    second = scan_root(first)
    assert set(second.broken) == {"m"}
    assert second.definitions == {}


def test_unreadable_settings_never_break_a_model_of_the_folders_name(write, scan_root):
    write({"x/m/model-settings.json": "{", "y/model-settings.json": versioned("1")})
    result = scan_root()
    assert set(result.definitions) == {"m"}
    assert result.broken == {}


def test_a_model_hidden_by_an_unreadable_folder_is_broken_not_gone(write, scan_root, root):
    write({"g/a/model-settings.json": SKLEARN})
    first = scan_root(format=MLSERVER)
    (root / "g/a").rename(root / "away")
    (root / "g/a").symlink_to(root / "g/a")
    second = scan_root(first, format=MLSERVER)
    assert set(second.broken) == {"a"}


def test_a_file_named_by_the_uri_counts_wherever_it_lies(write, scan_root, tmp_path):
    model = tmp_path / "store/model.joblib"
    settings = f'{{"implementation": "a.B", "parameters": {{"uri": "{model}"}}}}'
    write({"m/model-settings.json": settings})
    missing = scan_root()
    model.parent.mkdir()
    model.write_text("1")
    first = scan_root(missing)
    assert first.definitions["m"].versions != missing.definitions["m"].versions
    assert scan_root(first).definitions["m"] is first.definitions["m"]
    model.write_text("22")
    second = scan_root(first)
    assert second.definitions["m"].versions != first.definitions["m"].versions
    assert second.tokens["m"] != first.tokens["m"]


ENVIRONMENT = {"MLSERVER_MODEL_IMPLEMENTATION": "a.B", "MLSERVER_MODEL_NAME": "from-env"}


def test_the_environment_alone_describes_a_model_when_no_folder_does(write, scan_root, root):
    write({"model.joblib": ""})
    result = scan_root(format=MLSERVER, environment=ENVIRONMENT)
    assert result.names == ("from-env",)
    assert result.definitions["from-env"].directory == str(root)
    again = scan_root(result, format=MLSERVER, environment=ENVIRONMENT)
    assert again.definitions["from-env"] is result.definitions["from-env"]


def test_the_environment_describes_no_model_beside_a_folder(write, scan_root):
    write({"m/model-settings.json": '{"name": "m", "implementation": "c.D"}'})
    assert scan_root(format=MLSERVER, environment=ENVIRONMENT).names == ("m",)


def test_the_environment_describes_no_model_in_tritons_dialect(scan_root):
    assert scan_root(environment=ENVIRONMENT).names == ()
