"""The page of log events is made from the table."""

import re
from pathlib import Path

from mpserve.telemetry.events import EVENTS, events_page

PAGE = Path(__file__).parents[3] / "docs" / "log-events.md"


def test_the_page_in_the_docs_is_up_to_date():
    assert PAGE.read_text() == events_page(), "run `make docs`"


def test_names_are_a_noun_and_what_happened():
    assert [name for name in EVENTS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", name)] == []
