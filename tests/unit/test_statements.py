"""Documents that say which test shows what: every test that they name is there."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEDULING = "docs/compatibility/scheduling.md"
PROTOCOL = "docs/compatibility/protocol.md"
REPOSITORY = "docs/compatibility/repository.md"
PAGES = (
    "docs/model-management.md",
    "docs/compatibility/management.md",
    REPOSITORY,
    SCHEDULING,
    PROTOCOL,
)
NAMED = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")
DEFINED = re.compile(r"^(?:async )?(?:def|class) (\w+)", re.MULTILINE)


def rows(page: str) -> list[list[str]]:
    """Return the cells of all rows of all tables but their heads."""
    lines = (ROOT / page).read_text().splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[-1].strip() != "test"]


@cache
def defined(path: str) -> frozenset[str]:
    file = ROOT / path
    return frozenset(DEFINED.findall(file.read_text())) if file.is_file() else frozenset()


@pytest.mark.parametrize("page", PAGES)
def test_every_row_names_tests_that_are_there(page):
    for row in rows(page):
        named = NAMED.findall(row[-1])
        assert named, f"no test shows {row[:-1]}"
        for path, name in named:
            assert name in defined(path), f"{path}::{name}, which is to show {row[0]}"


def test_every_statement_of_the_two_documents_is_there_in_its_order():
    numbers = [int(row[0]) for row in rows("docs/model-management.md")]
    assert numbers == list(range(1, 52))


def test_every_surprise_has_a_decision():
    starts = [row[0].strip().partition(".")[0] for row in rows("docs/compatibility/management.md")]
    numbers = {int(start) for start in starts if start.isdecimal()}
    assert numbers == set(range(1, 25))
    decisions = {row[1].strip() for row in rows("docs/compatibility/management.md")}
    assert decisions <= {"as Triton", "better", "not yet"}


def test_every_row_about_the_command_line_and_the_wire_is_there():
    numbers = [row[0].strip() for row in rows(PROTOCOL)]
    of_triton = [*range(1, 28), *range(84, 121)]
    of_mlserver = [f"m{number}" for number in range(1, 36)]
    assert numbers == [*map(str, of_triton), *of_mlserver]


def test_every_row_about_the_repository_is_there():
    assert [int(row[0]) for row in rows(REPOSITORY)] == list(range(28, 84))


def test_every_row_about_scheduling_and_the_python_backend_is_there():
    numbers = [int(row[0]) for row in rows(SCHEDULING) if row[0].strip().isdecimal()]
    assert numbers == list(range(121, 151))
