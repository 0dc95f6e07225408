"""`mpserve check` on repositories on disk."""

import json

import pytest
from click.testing import CliRunner

from mpserve.cli.config_refusals import config_refusals
from mpserve.cli.findings import print_table
from mpserve.cli.main import main
from mpserve.cli.model_files import missing_files
from mpserve.repository import ScanOptions
from mpserve.repository.inspection import RuntimeChecks, inspect

MODEL = "class TritonPythonModel:\n    pass\n"


@pytest.fixture
def write(tmp_path):
    def write_files(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write_files


@pytest.fixture
def check(tmp_path):
    def run(*words):
        return CliRunner().invoke(main, ["check", str(tmp_path), *words])

    return run


def lines(outcome, tmp_path):
    return [line.replace(f"{tmp_path}/", "") for line in outcome.stdout.splitlines()]


def test_a_sound_repository_passes(write, check):
    write({"a/1/model.py": MODEL})
    outcome = check()
    assert outcome.exit_code == 0
    assert outcome.stdout == "1 model: 0 errors, 0 warnings\n"


def test_a_warning_alone_does_not_fail(write, check):
    write({"a/1/model.py": MODEL, "a/old/model.py": MODEL})
    outcome = check()
    assert outcome.exit_code == 0
    assert "warning: [a] ignore version directory 'old'" in outcome.stdout


@pytest.mark.parametrize(
    ("files", "line"),
    [
        pytest.param(
            {"a/1/model.py": "x = 1\ndef f(:\n"},
            "a/1/model.py:2: error: [a] SyntaxError: invalid syntax",
            id="a model that does not parse",
        ),
        pytest.param(
            {"a/1/model.py": "class Model:\n    pass\n"},
            "a/1/model.py: error: [a] it does not define the class 'TritonPythonModel'",
            id="a model without the class",
        ),
        pytest.param(
            {"a/config.pbtxt": 'backend: "nothing"', "a/1/x": ""},
            "a: error: [a] unable to find backend library for backend 'nothing', try specifying "
            "runtime on the model configuration.",
            id="a backend that is not there",
        ),
    ],
)
def test_what_a_load_would_meet_is_told(write, check, tmp_path, files, line):
    write(files)
    outcome = check()
    assert outcome.exit_code == 1
    assert lines(outcome, tmp_path)[0] == line


def test_a_missing_model_file_is_told(write, check):
    write({"a/config.pbtxt": 'backend: "python"', "a/1/other.py": ""})
    outcome = check()
    assert outcome.exit_code == 1
    assert "Python model file not found" in outcome.stdout


PYTHON = 'backend: "python"\n'
INPUT = 'input { name: "X" data_type: TYPE_FP32 %s }\n'
DECOUPLED = "model_transaction_policy { decoupled: true }\n"
CPU_ONLY = """parameters {
    key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "perhaps" }
}
"""


@pytest.mark.parametrize(
    ("config", "place", "told"),
    [
        (PYTHON + INPUT % "dims: [0]", ":2", "model input 'X' dimension must be integer >= 1"),
        (PYTHON + INPUT % "", ":2", "model input 'X' must specify 'dims'"),
        (PYTHON + CPU_ONLY, "", "Incorrect value for FORCE_CPU_ONLY_INPUT_TENSORS: perhaps"),
        (
            'backend: "onnxruntime"\n' + INPUT % "dims: [0]",
            ":2",
            "model input 'X' dimension must be integer >= 1",
        ),
        ('backend: "sklearn"\n' + INPUT % "", ":2", "model input 'X' must specify 'dims'"),
        (
            'backend: "sklearn"\n' + DECOUPLED,
            ":1",
            "the decoupled transaction policy, which the runtime 'sklearn' does not support",
        ),
    ],
)
def test_a_configuration_that_a_load_would_refuse_is_told(
    write, check, tmp_path, config, place, told
):
    files = {"a/1/model.py": MODEL, "a/1/model.onnx": "", "a/1/model.joblib": ""}
    write(files | {"a/config.pbtxt": config})
    outcome = check()
    assert outcome.exit_code == 1
    (found,) = lines(outcome, tmp_path)[:-1]
    assert found.startswith(f"a/config.pbtxt{place}: error: [a] ")
    assert told in found


COMPLETING = (
    MODEL + "    @staticmethod\n    def auto_complete_config(config):\n        return config\n"
)


@pytest.mark.parametrize(
    ("backend", "model"),
    [
        pytest.param("python", COMPLETING, id="by a function"),
        pytest.param(
            "python", "import b\nclass TritonPythonModel(b.M):\n    pass\n", id="by a base class"
        ),
        pytest.param("python", "from b import TritonPythonModel\n", id="by a class from elsewhere"),
        pytest.param("onnxruntime", "", id="by the model's file"),
    ],
)
def test_what_the_model_may_complete_is_not_missed(write, check, backend, model):
    write({"a/1/model.py": model, "a/1/model.onnx": ""})
    write({"a/config.pbtxt": f'backend: "{backend}"\n' + INPUT % ""})
    assert check().exit_code == 0


def test_a_python_model_is_a_python_file(write, check):
    write(
        {"a/1/model.txt": MODEL, "a/config.pbtxt": PYTHON + 'default_model_filename: "model.txt"'}
    )
    outcome = check()
    assert outcome.exit_code == 1
    assert "a/1/model.txt: error: [a] Model name must end with '.py'." in outcome.stdout


def test_a_class_that_is_imported_counts(write, check):
    write({"a/1/model.py": "from shared import TritonPythonModel\n"})
    assert check().exit_code == 0


def test_the_artifact_of_an_mlserver_model_must_be_there(write, check):
    settings = {"name": "a", "implementation": "mlserver_sklearn.SKLearnModel"}
    write({"a/model-settings.json": json.dumps(settings)})
    outcome = check("--dialect", "mlserver")
    assert outcome.exit_code == 1
    assert "none of model.joblib, model.pickle, model.pkl lies in" in outcome.stdout
    write({"a/model.pkl": ""})
    assert check("--dialect", "mlserver").exit_code == 0


def test_the_module_of_an_implementation_must_be_there(write, check):
    write({"a/model-settings.json": '{"name": "a", "implementation": "absent_module.M"}'})
    outcome = check("--dialect", "mlserver")
    assert outcome.exit_code == 1
    assert "no module 'absent_module'" in outcome.stdout
    write({"a/absent_module.py": ""})
    assert check("--dialect", "mlserver").exit_code == 0


def test_a_field_that_the_server_settings_do_not_have_is_told_with_its_line(write, check, tmp_path):
    write({"settings.json": '{\n"debug": true,\n"portt": 3\n}'})
    outcome = check("--dialect", "mlserver")
    assert outcome.exit_code == 0
    assert lines(outcome, tmp_path)[0] == (
        "settings.json:3: warning: settings.json: 'portt' is no setting of the server"
    )


@pytest.mark.parametrize(
    ("settings_json", "instances"), [('{"parallel_workers": 3}', 3), ("{}", 2)]
)
def test_instances_are_those_that_the_servers_settings_say(
    write, check, monkeypatch, settings_json, instances
):
    monkeypatch.setenv("MLSERVER_PARALLEL_WORKERS", "2")
    settings = {"name": "a", "implementation": "card.Card"}
    write(
        {
            "settings.json": settings_json,
            "a/model-settings.json": json.dumps(settings),
            "a/card.py": "",
            "b/model-settings.json": json.dumps(settings | {"name": "b", "parallel_workers": 1}),
            "b/card.py": "",
        }
    )
    report = json.loads(check("--dialect", "mlserver", "--format", "json").stdout)
    assert [one["instances"] for one in report["models"]] == [instances, 1]


def test_a_file_of_variables_that_can_not_be_read_is_told(check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MLSERVER_PARALLEL_WORKERS='2")
    outcome = check("--dialect", "mlserver")
    assert outcome.exit_code == 2
    assert ".env:1: the quotation is not closed" in outcome.stderr
    assert check().exit_code == 0  # Triton has no such file


def test_json_says_the_same_for_programs(write, check, tmp_path):
    write({"a/1/model.py": MODEL, "b/1/model.py": "("})
    report = json.loads(check("--format", "json").stdout)
    assert (report["errors"], report["warnings"]) == (1, 0)
    assert [(one["name"], one["versions"]) for one in report["models"]] == [
        ("a", ["1"]),
        ("b", ["1"]),
    ]
    (finding,) = report["findings"]
    assert finding["severity"] == "error"
    assert finding["path"] == f"{tmp_path}/b/1/model.py"
    assert finding["line"] == 1


def test_a_terminal_gets_a_table(write, tmp_path, capsys):
    write({"a/1/model.py": MODEL, "b/1/model.py": "("})
    checks = RuntimeChecks(files=missing_files, config=config_refusals)
    found = inspect([str(tmp_path)], ScanOptions(), checks=checks)
    print_table(found)
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].split() == ["a", "1", "python", "triton", "ok"]
    assert rows[2].split() == ["b", "1", "python", "triton", "error"]
    assert rows[-1] == "2 models: 1 error, 0 warnings"


def test_the_environment_and_the_allocator_of_a_model_must_be_there(write, check):
    config = """
        parameters { key: "EXECUTION_ENV_PATH" value { string_value: "%s" } }
        parameters { key: "MPSERVE_ALLOCATOR" value { string_value: "%s" } }
    """
    write({"a/1/model.py": MODEL, "a/config.pbtxt": config % ("env", "what")})
    outcome = check()
    assert outcome.exit_code == 1
    assert "a/env: error: [a] there is no such Python environment" in outcome.stdout
    assert "unknown allocator 'what'" in outcome.stdout
    write({"a/env/pyvenv.cfg": "", "a/config.pbtxt": config % ("env", "malloc")})
    assert check().exit_code == 0


@pytest.mark.parametrize("name", ["MPSERVE_THREADS", "MPSERVE_SHARE_WEIGHTS"])
def test_a_parameter_that_no_worker_could_start_with_is_an_error(write, check, name):
    config = 'parameters { key: "%s" value { string_value: "many" } }'
    write({"a/1/model.py": MODEL, "a/config.pbtxt": config % name})
    outcome = check()
    assert outcome.exit_code == 1
    assert f"a: error: [a] parameter '{name}' is 'many'" in outcome.stdout


def test_remote_storage_is_refused():
    outcome = CliRunner().invoke(main, ["check", "gs://bucket/models"])
    assert outcome.exit_code == 2
    assert "is remote storage, which mpserve does not read" in " ".join(outcome.stderr.split())


def test_a_repository_that_is_not_there_fails(check, tmp_path):
    outcome = CliRunner().invoke(main, ["check", str(tmp_path / "no")])
    assert outcome.exit_code == 1
