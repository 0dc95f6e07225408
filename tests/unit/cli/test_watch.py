"""`mpserve models list --watch` and `mpserve models events`."""

import json
import signal
import subprocess
import sys
from itertools import islice

import pytest
from click.testing import CliRunner

from mpserve.cli.main import main
from mpserve.cli.repository_client import CallFailed, IndexEntry
from mpserve.cli.watch import changes, text_line
from mpserve.model.event import Origin, RepositoryEvent
from mpserve.model.state import ModelState
from tests.fixtures.waiting import wait_until

EVENT = {
    "number": 4,
    "at_unix_ns": 1_700_000_000_123_000_000,
    "model": "a",
    "version": "1",
    "generation": 3,
    "instance": None,
    "asked_by": "poll",
    "from": "LOADING",
    "to": "READY",
    "took_ms": 41,
    "why": "",
}
LINE = "4 2023-11-14T22:13:20.123Z a:1 generation 3 poll: LOADING → READY after 41 ms"


def test_only_changes_are_shown():
    rows = [IndexEntry(name="a", state="LOADING")], [IndexEntry(name="a", state="READY")]
    looks = iter([rows[0], rows[0], rows[1], CallFailed("gone"), CallFailed("gone"), rows[1]])

    def look():
        seen = next(looks)
        if isinstance(seen, CallFailed):
            raise seen
        return seen

    shown = list(islice(changes(look, interval_secs=0.0), 4))
    assert [str(one) if isinstance(one, CallFailed) else one for one in shown] == [
        rows[0],
        rows[1],
        "gone",
        rows[1],
    ]


@pytest.fixture
def heeds_ctrl_c():
    """Programs that are started heed it, though the tests may run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_watching_ends_well_at_ctrl_c(peer):
    command = [sys.executable, "-m", "mpserve", "models", "list", "--watch", "--url", peer.url]
    with subprocess.Popen([*command, "--interval=0.05"], stdout=subprocess.PIPE) as watching:
        wait_until(lambda: len(peer.asked) > 2, deadline=30)
        watching.send_signal(signal.SIGINT)
        out, _ = watching.communicate(timeout=120)
    assert watching.returncode == 0
    assert out.decode().count("never-loaded") == 1


def test_events_are_told_one_a_line(peer):
    page = {"first": 4, "last": 4, "events": [EVENT]}
    peer.answers["/v2/repository/events?since=3&model=a"] = (200, json.dumps(page).encode())
    words = ["models", "events", "--since", "3", "--model", "a", "--url", peer.url]
    assert CliRunner().invoke(main, words).stdout == f"{LINE}\n"
    assert json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout) == EVENT


def test_a_server_without_events_is_told(peer):
    peer.answers["/v2/repository/events?since=0"] = (404, b"Not Found")
    outcome = CliRunner().invoke(main, ["models", "events", "--url", peer.url])
    assert outcome.exit_code == 1
    assert "404 Not Found" in outcome.stderr


def test_a_line_tells_the_instance_and_why():
    event = RepositoryEvent(
        number=5,
        at_unix_ns=0,
        model="a",
        version="",
        generation=3,
        instance=1,
        asked_by=Origin.CRASH,
        from_state=None,
        to=ModelState.UNAVAILABLE,
        took_ms=0,
        why="it died\n by signal 9",
    )
    assert text_line(event) == (
        "5 1970-01-01T00:00:00.000Z a generation 3 instance 1 crash: - → UNAVAILABLE "
        "(it died by signal 9)"
    )


def test_a_line_tells_that_nothing_changed():
    event = RepositoryEvent(
        number=6,
        at_unix_ns=0,
        model="a",
        version="",
        generation=0,
        instance=None,
        asked_by=Origin.POLL,
        from_state=None,
        to=None,
        took_ms=0,
        why="no configuration",
    )
    assert text_line(event) == "6 1970-01-01T00:00:00.000Z a poll: unchanged (no configuration)"
