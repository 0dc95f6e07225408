"""Label files, and what is none."""

from pathlib import Path

import pytest

from mpserve.dispatch.routing_table import RoutedModel
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.model.config import ModelConfig
from tests.unit.dispatch.tables import model, version


def routed(directory: Path, filename: str, generation: int = 1) -> RoutedModel:
    config = ModelConfig(label_files={"y": filename})
    row = version("1", generation=generation, config=config)
    return RoutedModel(model=model("m", row, directory=str(directory)), version=row)


def test_labels_are_lines_by_index(tmp_path):
    (tmp_path / "labels.txt").write_text("zero\none\n\nthree")
    found = LabelFiles().labels(routed(tmp_path, "labels.txt"))
    assert found == {"y": ("zero", "one", "", "three")}


@pytest.mark.parametrize("filename", ["missing.txt", "../secret.txt", "/etc/hostname", "link.txt"])
def test_a_file_that_is_not_the_models_gives_no_labels(tmp_path, filename):
    directory = tmp_path / "m"
    directory.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (directory / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert LabelFiles().labels(routed(directory, filename)) == {"y": ()}


def test_a_new_generation_reads_its_labels_anew(tmp_path):
    labels = LabelFiles()
    (tmp_path / "l.txt").write_text("old")
    assert labels.labels(routed(tmp_path, "l.txt", 1)) == {"y": ("old",)}
    (tmp_path / "l.txt").write_text("new")
    assert labels.labels(routed(tmp_path, "l.txt", 1)) == {"y": ("old",)}
    assert labels.labels(routed(tmp_path, "l.txt", 2)) == {"y": ("new",)}
    labels.keep(lambda: {2})
    assert labels.labels(routed(tmp_path, "l.txt", 1)) == {"y": ("new",)}


def test_nothing_is_looked_through_while_no_labels_are_known():
    def generations():
        raise AssertionError("with a thousand models that is a long list")

    LabelFiles().keep(generations)
