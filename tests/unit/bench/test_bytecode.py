"""Bytecode is there before anything is measured."""

import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.measuring import bytecode


@pytest.fixture
def tree(tmp_path, monkeypatch):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "one.py").write_text("ONE = 1\n")
    monkeypatch.setattr(bytecode, "PROJECT", tmp_path)
    monkeypatch.setattr(bytecode, "PACKAGES", ("pack",))
    return tmp_path / "pack"


def test_what_lacks_bytecode_gets_it_though_python_is_told_to_write_none(tree, monkeypatch):
    monkeypatch.setenv(bytecode.UNWRITTEN, "1")

    assert bytecode.compile_bytecode(Path(sys.executable)).startswith("1 files of pack compiled")
    assert list(tree.glob("__pycache__/one.*.pyc"))
    said = bytecode.compile_bytecode(Path(sys.executable))
    assert said.startswith("0 files")
    assert "PYTHONDONTWRITEBYTECODE is not handed on" in said


def test_a_file_that_does_not_compile_is_told(tree):
    (tree / "two.py").write_text("def")

    with pytest.raises(BenchError, match=r"cannot be compiled.*two\.py"):
        bytecode.compile_bytecode(Path(sys.executable))


def test_servers_may_keep_what_they_compile(monkeypatch):
    monkeypatch.setenv(bytecode.UNWRITTEN, "1")
    monkeypatch.setenv("OTHER", "kept")

    environment = bytecode.environment_of_servers()

    assert bytecode.UNWRITTEN not in environment
    assert environment["OTHER"] == "kept"
