"""Anything that may happen to a repository, against a plain model of what should be served.

Real servers, real workers: models are added, removed, edited and broken, loaded and unloaded, their
workers and the supervisor killed, in any order. At each quiet point what is served is what the
reference says, with as many workers; a client never sees a failure of a model that should serve.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.fixtures.pace import full_or, within
from tests.fixtures.repository import TEMPLATES, Repository
from tests.fixtures.repository_reference import Folder, Reference, Served
from tests.fixtures.server import Server
from tests.fixtures.steady_client import SteadyClient
from tests.fixtures.teller import ask, tell
from tests.fixtures.waiting import wait_until

NAMES = ("a", "b", "c")
MARK = "mark"
NAME = st.sampled_from(NAMES)
CONTENT = st.dictionaries(st.integers(1, 3), st.integers(0, 9), min_size=1, max_size=3)
QUIET_SECONDS = within(10)
CONFIG = (TEMPLATES / "teller/config.pbtxt").read_text() + "\nversion_policy { all {} }\n"
BROKEN_CODE = "raise ValueError('broken on purpose')\n"


FAULT = st.sampled_from(["config", "code"])
_WITH_SOUND = (
    *("edit_a_version",) * 4,
    "add_or_remove_a_version",
    "change_the_instances",
    "leave_a_swap_file",
)
_WITH_KILLABLE = ("kill_a_worker", "kill_a_worker")
_ALWAYS = (
    "add",
    "add",
    "add_broken",
    "remove",
    "ask_for_the_index",
    "be_quiet",
    "kill_the_supervisor",
)


class Machine(RuleBasedStateMachine):
    """What both control modes share: the folders and the deaths."""

    flags: tuple[str, ...] = ()
    events: tuple[str, ...] = _ALWAYS

    def __init__(self):
        super().__init__()
        self.ends = contextlib.ExitStack()
        base = Path(tempfile.mkdtemp())
        self.ends.callback(shutil.rmtree, base, ignore_errors=True)
        self.repository = Repository(base / "models")
        self.reference = Reference()
        self.base = base

    @initialize()
    def begin(self):
        self.before_start()
        log = self.base / "log"
        self.server = self.ends.enter_context(
            Server.serve(self.repository.path, flags=self.flags, log_path=log)
        )
        self.client = self.ends.enter_context(SteadyClient(self.server))

    def before_start(self):
        """Write what is there from the beginning."""

    def teardown(self):
        with self.ends:
            if hasattr(self, "client"):
                self.be_quiet()
                assert self.client.failed == [], self.server.log_text

    @rule(data=st.data())
    def happen(self, data):
        """One rule for all: hypothesis leaves out most rules in most of so few examples."""
        events = [*self.events, *(_WITH_SOUND if self.sound() else ())]
        events += _WITH_KILLABLE if self.killable() else ()
        getattr(self, data.draw(st.sampled_from(events)))(data.draw)

    # --- folders ----------------------------------------------------------------------------------

    def folder(self, name):
        return self.reference.folders.get(name)

    def config(self, folder):
        count = folder.instances
        return f"{CONFIG}instance_group [ {{ count: {count} kind: KIND_CPU }} ]\n"

    def write_folder(self, name, folder):
        """Put a whole folder in the place of what was there, in one step each."""
        made = self.base / "made"
        for version, value in folder.content.items():
            shutil.copytree(TEMPLATES / "teller/1", made / str(version))
            (made / str(version) / "value.txt").write_text(str(value))
            if folder.fault == "code":
                (made / str(version) / "model.py").write_text(BROKEN_CODE)
        made.mkdir(exist_ok=True)
        text = "no { configuration" if folder.fault == "config" else self.config(folder)
        (made / "config.pbtxt").write_text(text)
        self.about_to_replace(name)
        self.repository.remove(name)
        made.rename(self.repository.path / name)
        self.reference.put(name, folder)

    def about_to_replace(self, name):
        """Between two steps the folder is not there."""

    def add(self, draw):
        name, content, instances = draw(NAME), draw(CONTENT), draw(st.integers(1, 2))
        self.write_folder(name, Folder(content=content, instances=instances))

    def add_broken(self, draw):
        name, content = draw(NAME), draw(CONTENT)
        self.write_folder(name, Folder(content=content, fault=draw(FAULT)))

    def remove(self, draw):
        name = draw(NAME)
        self.about_to_replace(name)
        self.repository.remove(name)
        self.reference.remove(name)

    def sound(self):
        return [name for name in NAMES if self.folder(name) is not None and self.folder(name).loads]

    def edit_a_version(self, draw):
        name = draw(st.sampled_from(self.sound()))
        version = draw(st.sampled_from(sorted(self.folder(name).content)))
        value = draw(st.integers(0, 9))
        if draw(st.booleans()):
            (self.repository.path / name / str(version) / "value.txt").write_text(str(value))
        else:
            self.repository.write(f"{name}/{version}/value.txt", str(value))
        self.folder(name).content[version] = value
        self.reference.changed(name)

    def add_or_remove_a_version(self, draw):
        name, version = draw(st.sampled_from(self.sound())), draw(st.integers(1, 4))
        content = self.folder(name).content
        if version in content:
            self.repository.remove(f"{name}/{version}")
            del content[version]
        else:
            self.repository.add_version("teller", name, version)
            content[version] = 0
        self.reference.changed(name)

    def change_the_instances(self, draw):
        name = draw(st.sampled_from(self.sound()))
        self.folder(name).instances = draw(st.integers(1, 3))
        self.repository.write(f"{name}/config.pbtxt", self.config(self.folder(name)))
        self.reference.changed(name)

    def leave_a_swap_file(self, draw):
        name = draw(st.sampled_from(self.sound()))
        (self.repository.path / name / ".config.pbtxt.swp").write_text("an editor's")

    # --- deaths and questions ---------------------------------------------------------------------

    def killable(self):
        """Whose workers, started again, would read what they read before."""
        return [name for name in NAMES if self.reference.is_current(name)]

    def kill_a_worker(self, draw):
        name = draw(st.sampled_from(self.killable()))
        workers = self.server.processes_named(f"mps:{name}")
        self.client.excuse(name)
        if workers:
            draw(st.sampled_from(workers)).kill()
        wait_until(lambda: self.is_served(name), deadline=QUIET_SECONDS, what=f"{name} to be back")
        self.client.expect(name)

    def kill_the_supervisor(self, _draw):
        """Whoever comes next goes on with what was known; nobody has to be excused."""
        supervisor = self.server.process_named("mps supervisor")
        supervisor.kill()
        supervisor.wait(QUIET_SECONDS)  # so that the next one is not taken for this one

    def ask_for_the_index(self, _draw):
        assert {row["name"] for row in self.server.index()} - {MARK} <= set(NAMES)

    # --- what must hold ---------------------------------------------------------------------------

    def be_quiet(self, _draw=None):
        """Wait until nothing goes on, and compare everything."""
        raise NotImplementedError

    def seen(self, name):
        """Return what answers for a model, and how many workers it has for each version."""
        versions = {
            version: tell(self.server, name, version=version)
            for version in range(1, 5)
            if ask(self.server, name, version=version).status == 200
        }
        assert all(card.version == version for version, card in versions.items())
        content = {version: card.value for version, card in versions.items()}
        workers = len(self.server.processes_named(f"mps:{name}"))
        return Served(content=content, instances=workers // len(content) if content else 1)

    def is_served(self, name, allowed=None):
        """Tell whether exactly what should be there is there, by answers, workers and index."""
        wanted = allowed or [self.reference.served.get(name, Served())]
        seen = self.seen(name)
        assert seen in wanted, (seen, wanted)
        workers = len(self.server.processes_named(f"mps:{name}"))
        assert workers == len(seen.content) * seen.instances, (workers, seen)
        if name in self.reference.folders:
            states = {
                row.get("version"): row.get("state")
                for row in self.server.index()
                if row["name"] == name
            }
            ready = {version for version, state in states.items() if state == "READY"}
            assert ready == {str(version) for version in seen.content}, states
            assert set(states.values()) <= {"READY", "UNAVAILABLE", None}, states
        return True


class ExplicitMachine(Machine):
    flags = ("--model-control-mode=explicit", "--strict-readiness=false")
    events = (*_ALWAYS, *("load",) * 6, "unload")

    def load(self, draw):
        name = draw(NAME)
        status = self.reference.load(name)
        answer = self.server.load(name)
        assert answer.status == status, answer
        if self.reference.serves(name):
            self.client.expect(name)
        wait_until(lambda: self.is_served(name), deadline=QUIET_SECONDS, what=name)

    def unload(self, draw):
        name = draw(NAME)
        self.client.excuse(name)
        assert self.server.unload(name).status == self.reference.unload(name)

    def be_quiet(self, _draw=None):
        for name in NAMES:
            wait_until(lambda name=name: self.is_served(name), deadline=QUIET_SECONDS, what=name)


class PollMachine(Machine):
    flags = (
        "--model-control-mode=poll",
        "--repository-poll-secs=1",
        "--strict-readiness=false",
        "--exit-on-error=false",
    )
    marked = 0

    def before_start(self):
        self.repository.add("teller", MARK, files={"1/value.txt": "0"})

    def about_to_replace(self, name):
        self.client.excuse(name)  # it may be seen as gone for as long as a settle time

    def be_quiet(self, _draw=None):
        """What was changed before the mark has been taken when the mark is served."""
        self.marked += 1
        self.repository.write(f"{MARK}/1/value.txt", str(self.marked))
        wait_until(
            lambda: tell(self.server, MARK).value == self.marked,
            deadline=QUIET_SECONDS,
            what="poll to take the mark",
        )
        for name, allowed in self.reference.settle().items():
            wait_until(
                lambda name=name, allowed=allowed: self.is_served(name, allowed),
                deadline=QUIET_SECONDS,
                what=name,
            )
            self.reference.served[name] = self.seen(name)
            if self.reference.serves(name):
                self.client.expect(name)


def hard(*, examples, steps):
    """Return settings: no shrinking, which would take hours with real servers.

    The first example of hypothesis is the simplest: it adds one model again and again.
    """
    return settings(
        max_examples=int(examples),
        stateful_step_count=int(steps),
        deadline=None,
        phases=(Phase.generate,),
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


ExplicitMachine.TestCase.settings = hard(examples=full_or(30, 5), steps=full_or(100, 50))
PollMachine.TestCase.settings = hard(examples=full_or(20, 3), steps=full_or(80, 32))


@pytest.mark.timeout(900)
class TestExplicitMachine(ExplicitMachine.TestCase):
    pass


@pytest.mark.timeout(900)
class TestPollMachine(PollMachine.TestCase):
    pass
