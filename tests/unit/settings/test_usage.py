"""Usage texts and the page of flags are made from the rows."""

from pathlib import Path

from mpserve.dialect import DialectName
from mpserve.settings.reading import SERVE_FLAGS, START_FLAGS
from mpserve.settings.usage import flags_page, usage_text

PAGE = Path(__file__).parents[3] / "docs" / "flags.md"


def test_every_flag_is_in_the_usage_text_under_its_group():
    text = usage_text(DialectName.TRITON, SERVE_FLAGS)
    headings = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings[1:4] == ["Life cycle:", "Processes and shared memory:", "HTTP:"]
    for flag in SERVE_FLAGS:
        assert f"  --{flag.name}" in text


def test_each_command_shows_its_own_defaults():
    assert "[default: 8000]" in usage_text(DialectName.TRITON, SERVE_FLAGS)
    assert "[default: 8080]" in usage_text(DialectName.MLSERVER, START_FLAGS)


def test_lines_fit_a_terminal():
    assert max(map(len, usage_text(DialectName.TRITON, SERVE_FLAGS).splitlines())) <= 100


def test_the_page_in_the_docs_is_up_to_date():
    assert PAGE.read_text() == flags_page(), "run `make docs`"
