import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mpserve.errors import InvalidRequest, LoadError
from mpserve.runtimes import registry

ROOT = Path(__file__).parents[3]


def test_the_table_has_the_rows_of_the_entry_points():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][registry.ENTRY_POINT_GROUP] == registry.BUILT_IN


def test_a_runtime_of_another_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "their_runtime.py").write_text(
        "class Echo:\n"
        "    name = 'echo'\n"
        "    default_files = ()\n"
        "    def load(self, context): ...\n"
        "    def execute(self, requests): return []\n"
        "    def unload(self): ...\n"
    )
    information = tmp_path / "their_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: their-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[mpserve.runtimes]\necho = their_runtime:Echo\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.make_runtime("echo").name == "echo"
    assert "echo" in registry.runtime_names()
    assert "sklearn" in registry.runtime_names()


def test_an_unknown_runtime_is_refused_in_tritons_words():
    with pytest.raises(InvalidRequest) as refused:
        registry.make_runtime("tensorrt")
    assert refused.value.message == (
        "unable to find backend library for backend 'tensorrt', try specifying runtime on the"
        " model configuration."
    )
    assert "mlserver, onnxruntime, python, pytorch, sklearn" in refused.value.__notes__[0]


def test_a_runtime_whose_module_is_missing_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setitem(registry.BUILT_IN, "broken", "mpserve.runtimes.not_there:Broken")
    with pytest.raises(LoadError, match=r"runtime 'broken' .*No module named"):
        registry.make_runtime("broken")


def test_finding_a_built_in_runtime_reads_no_entry_points_and_imports_no_other():
    program = (
        "import sys\n"
        "from mpserve.runtimes import registry\n"
        "registry.make_runtime('sklearn')\n"
        "heavy = {'importlib.metadata', 'sklearn', 'joblib', 'xgboost', 'pandas',"
        " 'mpserve._native', 'mpserve.runtimes.xgboost', 'mpserve.runtimes.mlserver_model'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)
