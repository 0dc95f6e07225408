"""Poll mode while somebody changes models in every way people do, and clients never pause.

Each content has a number, in two files that belong together: `value.txt` and the configuration. A
load that saw half of a change would serve two different ones.
"""

import random
import shutil
import threading
import time

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import full_or, within
from tests.fixtures.repository import TEMPLATES
from tests.fixtures.teller import teller_bytes
from tests.fixtures.waiting import wait_until

SECONDS = full_or(60, 10)
CLIENTS = 4
SEED = 20241121
PIECE_SECONDS = 0.05  # between two writes of a slow copy: less than the settle time
SETTLE_SECONDS = 0.5
REST_SECONDS = 1.5  # after every second change, so that some are taken
TAKEN_SECONDS = within(10)
CONFIG = (TEMPLATES / "pair/config.pbtxt").read_text()
CODE = (TEMPLATES / "pair/1/model.py").read_text()


class Writer:
    """Changes one model from one complete content to the next, in ways that differ."""

    def __init__(self, repository, name: str, stop: threading.Event) -> None:
        self.folder = repository.path / name
        self.aside = repository.path.parent / "written"
        self.choice = random.Random(SEED)
        self.stop = stop
        self.number = 0
        self.held_up: set[int] = set()  # changes that looked finished before they were
        self._wrote = 0.0

    def files(self) -> dict[str, str]:
        """Return the next content; the length of the files differs, too."""
        self.number += 1
        padding = "# padding\n" * self.choice.randint(0, 400)
        return {
            "config.pbtxt": CONFIG.replace("THE_MARK", str(self.number)),
            "1/value.txt": str(self.number),
            "1/model.py": padding + CODE,
        }

    def change(self) -> str:
        ways = (
            self.slowly_in_place,
            self.truncated_first,
            self.file_by_file,
            self.whole_folder,
            self.through_a_swap_file,
            self.after_a_broken_state,
        )
        way = self.choice.choice(ways)
        files = self.files()
        self._wrote = time.monotonic()
        way(files)
        self.note_gap()
        return way.__name__

    def slowly_in_place(self, files) -> None:
        for path, text in self.shuffled(files):
            with (self.folder / path).open("w") as file:
                for begin in range(0, len(text), len(text) // 4 + 1):
                    file.write(text[begin : begin + len(text) // 4 + 1])
                    file.flush()
                    self.pause()

    def truncated_first(self, files) -> None:
        for path in files:
            (self.folder / path).write_text("")
        self.pause()
        for path, text in self.shuffled(files):
            (self.folder / path).write_text(text)
            self.pause()

    def file_by_file(self, files) -> None:
        for path, text in self.shuffled(files):
            made = self.aside / path.replace("/", "-")
            made.write_text(text)
            made.rename(self.folder / path)
            self.pause()

    def whole_folder(self, files) -> None:
        made = self.aside / "folder"
        (made / "1").mkdir(parents=True)
        for path, text in files.items():
            (made / path).write_text(text)
        self.folder.rename(self.aside / "old")
        self.pause()
        made.rename(self.folder)
        shutil.rmtree(self.aside / "old")

    def through_a_swap_file(self, files) -> None:
        for path, text in self.shuffled(files):
            target = self.folder / path
            swap = target.with_name(f".{target.name}.swp")
            swap.write_text(text[: len(text) // 2])
            self.pause()
            (target.with_name(f"{target.name}~")).write_text("a backup")
            swap.write_text(text)
            swap.rename(target)

    def after_a_broken_state(self, files) -> None:
        """It stays broken for longer than the settle time, so that poll looks at it."""
        (self.folder / "config.pbtxt").write_text("no { configuration")
        self.stop.wait(REST_SECONDS / 2)
        self._wrote = time.monotonic()
        self.file_by_file(files)

    def shuffled(self, files):
        return self.choice.sample(sorted(files.items()), len(files))

    def pause(self) -> None:
        self.note_gap()
        time.sleep(PIECE_SECONDS)

    def note_gap(self) -> None:
        """A machine that others use may hold this thread up for longer than the settle time."""
        now = time.monotonic()
        if now - self._wrote > 0.8 * SETTLE_SECONDS:
            self.held_up.add(self.number)
        self._wrote = now

    def write_until_stopped(self) -> list[str]:
        done = []
        self.aside.mkdir()
        while not self.stop.is_set():
            done.append(self.change())
            if self.choice.random() < 0.5:
                self.stop.wait(REST_SECONDS)
        return done


@pytest.mark.timeout(300)
def test_nobody_sees_a_failure_or_half_of_a_change(serve, repository):
    repository.add("pair", "m", files={"1/value.txt": "0"})
    (repository.path / "m/config.pbtxt").write_text(CONFIG.replace("THE_MARK", "0"))
    server = serve(
        repository.path,
        flags=["--model-control-mode=poll", "--repository-poll-secs=1", "--log-format=json"],
    )
    stop = threading.Event()
    writer = Writer(repository, "m", stop)
    ways: list[str] = []
    thread = threading.Thread(target=lambda: ways.extend(writer.write_until_stopped()))
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS, keep=lambda body: body) as load:
        load.wait_answered()
        thread.start()
        load.wait_answered(
            that=lambda outcome: outcome.status == 200 and pair(outcome)[0] > 0,
            deadline=2 * TAKEN_SECONDS,
        )
        load.run_for(SECONDS)
        stop.set()
        thread.join(within(10))
        assert not thread.is_alive()
        load.wait_answered(
            that=lambda outcome: outcome.status == 200 and pair(outcome) == (writer.number,) * 2,
            deadline=TAKEN_SECONDS,
        )
    assert load.failed == []
    seen = {pair(outcome) for outcome in load.outcomes}
    halves = {both for both in seen if both[0] != both[1] and not writer.held_up & {*both}}
    assert halves == set()
    assert len(seen) > 2, f"none of {ways} was taken"
    wait_until(lambda: len(server.processes_named("mps:m")) == 1, what="old workers to end")


def pair(outcome) -> tuple[int, int]:
    return outcome.value("VALUE"), outcome.value("MARK")
