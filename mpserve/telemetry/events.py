"""Names of all log events, each with what it means. A name is `noun.past`.

A test reads the whole source and fails on an event that is not listed here, and on a row that
nothing logs.
"""

from collections.abc import Mapping
from typing import Final

EVENTS: Final[Mapping[str, str]] = {
    "handler.ignored": "A method with MLServer's `custom_handler` is not served at its path.",
    "library.logged": "A line of Python's `logging`, from a model or a library.",
    "lines.suppressed": "Lines that repeated too often were left out; says which and how many.",
    "model.logged": "A line that a model wrote through Triton's `pb_utils.Logger`.",
    "model.raised": "The code of a model raised while it answered; with the whole traceback.",
    "setting.doubted": "A setting that is allowed and may surprise, or changes nothing.",
}


def events_page() -> str:
    """Return `docs/log-events.md`."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in sorted(EVENTS.items())]
    head = [
        "# Log events",
        "",
        "<!-- Made by `make docs` from `mpserve/telemetry/events.py`; do not edit. -->",
        "",
        "| event | means |",
        "|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"
