"""How models of the Python backend are loaded and unloaded."""

import json
import sys

import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.errors import InvalidRequest, LoadError, ModelError, Unsupported
from mpserve.model.config import ModelConfig
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.runtimes.protocol import LoadContext
from mpserve.runtimes.python_backend import PythonBackendRuntime
from tests.fixtures.native_requests import request
from tests.unit.runtimes.python_backend.models import executing


def test_initialize_gets_tritons_arguments(load, tmp_path, capsys):
    load(
        """
        import json

        class TritonPythonModel:
            def initialize(self, args):
                print(json.dumps(args))

            def execute(self, requests):
                return []
        """,
        config_json='{"name":"m"}',
    )
    assert json.loads(capsys.readouterr().out) == {
        "model_config": '{"name":"m"}',
        "model_instance_kind": "CPU",
        "model_instance_name": "m_0",
        "model_instance_device_id": "0",
        "model_repository": str(tmp_path / "m"),
        "model_version": "1",
        "model_name": "m",
    }


def test_an_exception_in_initialize_is_told_with_its_place(load, tmp_path):
    file = tmp_path / "m" / "1" / "model.py"
    with pytest.raises(LoadError) as caught:
        load("""
            class TritonPythonModel:
                def initialize(self, args):
                    self.open()

                def open(self):
                    raise ValueError("no weights")
            """)
    assert caught.value.message == (
        f"ValueError: no weights\n\nAt:\n  {file}(8): open\n  {file}(5): initialize\n"
    )
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "x = 1",
            "AttributeError: module '1.model' has no attribute 'TritonPythonModel'",
        ),
        (
            "import no_such_module",
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("def (", "SyntaxError: "),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_can_not_be_imported_fails_the_load(load, source, words):
    with pytest.raises(LoadError) as caught:
        load(source)
    assert caught.value.message.startswith(words)


def test_a_missing_file_is_named(write_model):
    context = write_model("")
    runtime = PythonBackendRuntime()
    for config, words in [
        (
            ModelConfig(default_model_filename="other.py"),
            f"Python model file not found in '{context.version_directory}/other.py'",
        ),
        (
            ModelConfig(default_model_filename="model.pt"),
            "Model name must end with '.py'. Model name is \"model.pt\".",
        ),
    ]:
        with pytest.raises(LoadError) as caught:
            runtime.load(
                LoadContext(
                    **{
                        name: config if name == "config" else getattr(context, name)
                        for name in LoadContext.__struct_fields__
                    }
                )
            )
        assert caught.value.message == words


def test_models_import_files_beside_them(load):
    runtime = load(
        """
        from . import relative
        import plain
        import shared

        class TritonPythonModel:
            def execute(self, requests):
                text = relative.WORD + plain.WORD + shared.WORD
                error = pb_utils.TritonError(text)
                return [pb_utils.InferenceResponse([], error) for _ in requests]
        """,
        files=[
            ("1/relative.py", "WORD = 'a'"),
            ("1/plain.py", "WORD = 'b'"),
            ("shared.py", "WORD = 'c'"),
        ],
    )
    assert runtime.execute([request()])[0].error().message() == "abc"


def test_a_folder_of_the_same_name_on_the_path_is_not_the_version(load, tmp_path, monkeypatch):
    (tmp_path / "cwd" / "1").mkdir(parents=True)
    (tmp_path / "cwd" / "1" / "model.py").write_text("raise AssertionError('wrong file')")
    monkeypatch.syspath_prepend(tmp_path / "cwd")
    load(executing("return []"))


def test_nothing_is_written_into_the_repository(load, tmp_path):
    load("import helper\nclass TritonPythonModel: pass", files=[("1/helper.py", "")])
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert written == {"m", "m/1", "m/1/model.py", "m/1/helper.py"}


COMPLETING = """
class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        auto_complete_model_config.set_max_batch_size(4)
        auto_complete_model_config.add_output(
            {"name": "OUT", "data_type": "TYPE_FP32", "dims": [1]}
        )
        return auto_complete_model_config

    def initialize(self, args):
        print(args["model_config"])
"""


GIVEN = '{"name":"m","backend":"python"}'


def test_the_model_completes_its_configuration_before_it_is_initialized(write_model, capsys):
    context = write_model(COMPLETING, config_json=GIVEN, complete_config=True)
    completed = PythonBackendRuntime().load(context)
    assert completed.config.signature == Signature(
        outputs=(TensorSpec(name="OUT", datatype=Datatype.FP32, shape=(-1, 1)),), max_batch_size=4
    )
    printed = json.loads(completed.config_json)
    assert printed["max_batch_size"] == 4
    assert printed["output"][0] | {"label_filename": ""} == printed["output"][0]
    assert printed["version_policy"] == {"latest": {"num_versions": 1}}
    assert capsys.readouterr().out.strip() == completed.config_json


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ('"input":[{"name":"x"}]', InvalidRequest, "model input 'x' must specify 'data_type'"),
        (
            '"model_repository_agents":{"agents":[{"name":"checksum"}]}',
            Unsupported,
            "'model_repository_agents' of model 'm' is not",
        ),
    ],
)
def test_a_configuration_that_is_not_served_never_reaches_initialize(
    write_model, capsys, more, error, words
):
    given = f"{GIVEN[:-1]},{more}}}"
    context = write_model(COMPLETING, config_json=given, complete_config=True)
    with pytest.raises(error, match=words):
        PythonBackendRuntime().load(context)
    assert capsys.readouterr().out == ""


def test_other_instances_do_not_complete_the_configuration(write_model):
    context = write_model(COMPLETING, config_json='{"name":"m"}')
    assert PythonBackendRuntime().load(context).config_json == '{"name":"m"}'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "return None",
            "auto_complete_config function in model 'm_0' must return a valid"
            " pb.ModelConfig object.",
        ),
        (
            "config.set_max_batch_size(1); return config",
            "ValueError: configuration specified max_batch_size 8, but in",
        ),
    ],
)
def test_a_wrong_completion_fails_the_load(load, body, words):
    source = (
        "class TritonPythonModel:\n    @staticmethod\n    def auto_complete_config(config):\n"
        f"        {body}\n"
    )
    with pytest.raises(LoadError) as caught:
        load(source, config_json='{"name":"m","max_batch_size":8}', complete_config=True)
    assert caught.value.message.startswith(words)


def test_a_decoupled_model_that_returns_something_is_told_so(load):
    runtime = load(executing("return []"), config=ModelConfig(decoupled=True))
    with pytest.raises(ModelError, match="is using the decoupled mode and the execute function"):
        runtime.execute_stream([])


def test_finalize_is_called_once(load, capsys):
    runtime = load("""
        class TritonPythonModel:
            def finalize(self):
                print("finalized")
        """)
    runtime.unload()
    runtime.unload()
    assert capsys.readouterr().out == "finalized\n"


def test_a_model_that_was_not_initialized_is_not_finalized(load, capsys):
    with pytest.raises(LoadError):
        load("""
            class TritonPythonModel:
                def initialize(self, args):
                    raise ValueError

                def finalize(self):
                    print("finalized")
            """)
    assert capsys.readouterr().out == ""


def test_an_exception_in_finalize_goes_to_the_log(load, capfd):
    runtime = load("""
        class TritonPythonModel:
            def finalize(self):
                raise ValueError("busy")
        """)
    runtime.unload()
    assert "ValueError: busy" in capfd.readouterr().err


def test_the_runtime_tells_tritons_name_for_its_module():
    pb_utils.supply()
    assert sys.modules["triton_python_backend_utils"] is pb_utils
