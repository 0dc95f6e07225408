"""What a model that checks itself says, and when it is told."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from mpserve.control.messages import WorkerChecked
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response
from mpserve.worker.readiness import Readiness
from tests.fixtures.pace import within
from tests.fixtures.waiting import wait_until


class Moody:
    """Says what the test puts into its queue, one after the other, and then the last again."""

    def __init__(self, *words: str, checks_itself: bool = True) -> None:
        self.checks_itself = checks_itself
        self.asked = 0
        self.said: SimpleQueue[str] = SimpleQueue()
        self.say(*words)
        self._last = ""
        self.answers = threading.Event()
        self.answers.set()

    def say(self, *words: str) -> None:
        for word in words:
            self.said.put(word)

    name = "moody"
    default_files = ()

    def load(self, context: LoadContext) -> CompletedConfig:
        raise NotImplementedError

    def execute(self, requests: Sequence[Request]) -> Sequence[Response | None]:
        raise NotImplementedError

    def unload(self) -> None:
        raise NotImplementedError

    def complaint(self) -> str:
        self.asked += 1
        self.answers.wait()
        if not self.said.empty():
            self._last = self.said.get()
        return self._last


class Told:
    """What the supervisor has heard."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def send(self, message: WorkerChecked) -> None:
        self.complaints.append(message.complaint)


@contextmanager
def begun(runtime: Moody, *, limit_seconds: float = within(5)) -> Iterator[tuple[Readiness, Told]]:
    told = Told()
    readiness = Readiness(
        told.send, instance_name="m_0", pause_seconds=0.01, limit_seconds=limit_seconds
    )
    readiness.begin(runtime)
    try:
        yield readiness, told
    finally:
        runtime.answers.set()


def test_the_first_answer_is_told_at_once():
    with begun(Moody("no")) as (_, told):
        assert told.complaints == ["no"]


def test_a_model_that_is_ready_is_not_worth_a_word():
    runtime = Moody("")
    with begun(runtime) as (_, told):
        wait_until(lambda: runtime.asked > 3, what="some checks")
        assert told.complaints == []


def test_only_changes_are_told():
    runtime = Moody("", "a", "a", "b", "")
    with begun(runtime) as (_, told):
        wait_until(lambda: runtime.asked > 7, what="all answers")
        assert told.complaints == ["a", "b", ""]


def test_an_answer_that_is_late_counts_as_a_no_until_it_comes():
    runtime = Moody("")
    runtime.answers.clear()
    with begun(runtime, limit_seconds=0.05) as (_, told):
        late = "Model 'm_0' is not ready: is_ready() has not answered within 0.05 seconds"
        assert told.complaints == [late]
        assert runtime.asked == 1
        runtime.answers.set()
        wait_until(lambda: told.complaints == [late, ""], what="the answer")


def test_another_supervisor_is_told_what_is_wrong():
    with begun(Moody("no")) as (readiness, told):
        readiness.tell_again()
        assert told.complaints == ["no", "no"]


def test_a_model_that_does_not_check_itself_is_never_asked():
    before = threading.active_count()
    runtime = Moody("no", checks_itself=False)
    with begun(runtime) as (readiness, told):
        readiness.tell_again()
        assert (told.complaints, runtime.asked) == ([], 0)
        assert threading.active_count() == before
