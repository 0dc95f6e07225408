"""Commands that README and docs show are commands that exist."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from mpserve.cli.main import main
from mpserve.settings.reading import read_serve, read_start

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    blocks = re.findall(r"```(?:sh|ini)\n(.*?)```", page.read_text(), flags=re.DOTALL)
    whole = [re.sub(r"\\\n\s*", "", block) for block in blocks]  # commands of several lines
    lines = [line.partition("#")[0].strip() for block in whole for line in block.splitlines()]
    return [re.sub(r"^ExecStart=\S*/", "", line) for line in lines if line]


def commands(first: str) -> list[str]:
    return [line for page in PAGES for line in shell_lines(page) if line.split()[:1] == [first]]


@pytest.mark.parametrize("line", commands("mpserve"))
def test_a_command_that_is_shown_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, name, *words = shlex.split(line)
    if name == "serve":
        read_serve(words, environment={}, version="")
    elif name == "start":
        read_start(words, environment={}, version="")
    else:
        # The group parses the words up to --help and runs nothing.
        assert CliRunner().invoke(main, [name, *words, "--help"]).exit_code == 0


@pytest.mark.parametrize("line", commands("make"))
def test_a_make_target_that_is_shown_exists(line):
    makefile = (ROOT / "Makefile").read_text()
    for target in line.split()[1:]:
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE), target


def test_there_are_commands_to_check():
    assert commands("mpserve")
    assert commands("make")


def threats() -> list[str]:
    """Rows of the threat model, without their head."""
    page = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[0] == "| threat | what holds | shown by |"
    return rows[1:]


@pytest.mark.parametrize("row", threats())
def test_a_threat_names_tests_that_are_there(row):
    *_, shown_by, _ = row.split("|")
    named = re.findall(r"`([^`]+)`", shown_by)
    assert named
    for one in named:
        places = [ROOT / "tests" / one, ROOT / one]
        tests = [place for place in places if place.is_file() or any(place.glob("test_*.py"))]
        assert tests, one


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_inside_the_project_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
