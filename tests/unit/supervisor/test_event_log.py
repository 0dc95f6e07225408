"""The ring of transitions."""

from mpserve.lifecycle.actions import BeginOperation, CheckFolder
from mpserve.lifecycle.actual import Actual
from mpserve.lifecycle.events import FolderChecked, InstanceEnded, InstanceReady, TableAcknowledged
from mpserve.lifecycle.observation import observe
from mpserve.lifecycle.plan import Limits, plan
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.config import ModelConfig
from mpserve.model.event import Origin
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.event_log import EventLog
from tests.unit.lifecycle.simulation import DIED, define

MS_NS = 1_000_000


class Story:
    """A lifecycle that is observed by a log; each step takes 7 ms."""

    def __init__(self, kept=100):
        self.now_ns = 0
        self.log = EventLog(
            now_ns=lambda: self.now_ns,
            unix_ns=lambda: 5,
            checkpoint=Checkpoint(checkpoint_files()),
            kept=kept,
        )
        self.actual = Actual()
        self.wanted = Wanted()
        self.wishes = 0

    def observe(self, happened):
        before = self.actual
        self.actual = observe(before, happened, policy=RestartPolicy())
        self.log.observed(before, self.actual, happened)

    def step(self, happened=None):
        self.now_ns += 7 * MS_NS
        if happened is not None:
            self.observe(happened)
        while actions := plan(self.wanted, self.actual, now_ns=self.now_ns, limits=Limits()):
            for action in actions:
                self.observe(action)
                if isinstance(action, CheckFolder):
                    self.observe(
                        FolderChecked(name=action.name, wish=action.wish, is_unchanged=True)
                    )

    def wish(self, definition, origin, name="m"):
        self.wishes += 1
        self.wanted = self.wanted.with_wish(
            Wish(number=self.wishes, name=name, definition=definition, origin=origin)
        )
        self.step()

    def instances(self, name="m"):
        return [one.key for each in self.actual.models[name].generations for one in each.instances]

    def load(self, name="m"):
        for key in self.instances(name):
            self.step(InstanceReady(instance=key, config=ModelConfig(), config_json="{}"))
        self.step(TableAcknowledged(number=self.actual.table_number))

    def told(self, *, model="", since=0):
        return [
            (one.number, one.model, one.asked_by, one.to.value, one.took_ms)
            for one in self.log.page(model=model, since=since).events
        ]


def test_events_name_who_asked_and_how_long_it_took():
    story = Story()
    story.wish(define(), Origin.POLL)
    story.load()
    assert story.told() == [
        (1, "m", Origin.POLL, "LOADING", 0),
        (2, "m", Origin.POLL, "READY", 7),
    ]


def test_a_death_and_what_follows_it_come_of_a_crash():
    story = Story()
    story.wish(define(), Origin.CLIENT)
    story.load()
    (key,) = story.instances()
    story.step(InstanceEnded(instance=key, failure=DIED, at_ns=story.now_ns))
    story.now_ns += 10_000 * MS_NS
    story.step()
    told = [row for row in story.told() if row[0] > 2]
    assert [origin for _, _, origin, _, _ in told] == [Origin.CRASH] * len(told)
    assert [state for _, _, _, state, _ in told][:2] == ["UNAVAILABLE", "LOADING"]


def test_pages_are_filtered_by_model_and_number():
    story = Story()
    story.wish(define("a"), Origin.START, name="a")
    story.wish(define("b"), Origin.START, name="b")
    story.load("a")
    assert [row[:2] for row in story.told(model="a")] == [(1, "a"), (3, "a")]
    assert [row[:2] for row in story.told(since=2)] == [(3, "a")]


def test_the_oldest_events_are_forgotten_and_the_page_says_so():
    story = Story(kept=2)
    for name in "abc":
        story.wish(define(name), Origin.START, name=name)
    page = story.log.page(model="", since=0)
    assert (page.first, page.last) == (2, 3)
    assert [one.model for one in page.events] == ["b", "c"]


def test_a_log_without_events_says_so():
    page = Story().log.page(model="", since=0)
    assert (page.first, page.last, page.events) == (0, 0, ())


def test_what_begins_without_a_change_is_no_event():
    story = Story()
    wish = Wish(number=1, name="m", definition=None, origin=Origin.CLIENT)
    story.observe(BeginOperation(wish=wish))
    assert story.told() == []


def test_a_model_that_can_not_be_read_is_an_event_that_changes_nothing():
    story = Story()
    story.log.refused("m", origin=Origin.POLL, why="no configuration")
    (one,) = story.log.page(model="m", since=0).events
    assert (one.number, one.asked_by, one.to, one.why) == (1, Origin.POLL, None, "no configuration")
