"""Asking workers for what their models have counted."""

import asyncio
from collections.abc import Callable

from mpserve.control.message import Message
from mpserve.control.messages import TellMetrics
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version
from mpserve.supervisor import metrics_question
from mpserve.supervisor.metrics_question import MetricsQuestion


def key(index: int) -> InstanceKey:
    return InstanceKey(
        name=ModelName("m"), version=Version("1"), generation=Generation(1), index=index
    )


ONE, TWO = key(1), key(2)


class Workers:
    """Records who is asked; answers at once where it is told to."""

    def __init__(self, question: MetricsQuestion, answering: set[InstanceKey]) -> None:
        self.asked: list[InstanceKey] = []
        self.all_asked = asyncio.Event()
        self.wanted = 0
        self.question = question
        self.answering = answering

    def send(self, key: InstanceKey, message: Message) -> None:
        assert isinstance(message, TellMetrics)
        self.asked.append(key)
        if len(self.asked) == self.wanted:
            self.all_asked.set()
        if key in self.answering:
            self.question.heard(key, message.question)

    async def until_asked(self, count: int) -> None:
        self.wanted = count
        await self.all_asked.wait()


def run(scene: Callable) -> None:
    async def within() -> None:
        async with asyncio.timeout(30):
            await scene(MetricsQuestion())

    asyncio.run(within())


def test_only_those_that_count_are_asked():
    async def scene(question: MetricsQuestion) -> None:
        workers = Workers(question, {ONE})
        await question.ask(workers.send)
        assert workers.asked == []
        question.heard(ONE, 0)
        await question.ask(workers.send)
        assert workers.asked == [ONE]

    run(scene)


def test_an_answer_to_an_earlier_question_is_not_waited_for_as_the_next(monkeypatch):
    monkeypatch.setattr(metrics_question, "PATIENCE_SECONDS", 60)

    async def scene(question: MetricsQuestion) -> None:
        question.heard(ONE, 0)
        workers = Workers(question, set())
        asking = [asyncio.ensure_future(question.ask(workers.send)) for _ in range(2)]
        await workers.until_asked(2)
        question.heard(ONE, 0)
        question.heard(ONE, 1)
        await asking[0]
        await asyncio.sleep(0)
        assert not asking[1].done()
        question.heard(ONE, 2)
        await asking[1]

    run(scene)


def test_who_does_not_answer_costs_one_look_and_is_asked_again_when_it_has(monkeypatch):
    monkeypatch.setattr(metrics_question, "PATIENCE_SECONDS", 0.01)

    async def scene(question: MetricsQuestion) -> None:
        question.heard(ONE, 0)
        question.heard(TWO, 0)
        workers = Workers(question, {TWO})
        await question.ask(workers.send)
        assert sorted(workers.asked, key=lambda one: one.index) == [ONE, TWO]
        await question.ask(workers.send)
        assert workers.asked[2:] == [TWO]
        question.heard(ONE, 1)
        workers.answering.add(ONE)
        await question.ask(workers.send)
        assert sorted(workers.asked[3:], key=lambda one: one.index) == [ONE, TWO]

    run(scene)


def test_who_has_ended_is_waited_for_no_more(monkeypatch):
    monkeypatch.setattr(metrics_question, "PATIENCE_SECONDS", 60)

    async def scene(question: MetricsQuestion) -> None:
        question.heard(ONE, 0)
        workers = Workers(question, set())
        asking = asyncio.ensure_future(question.ask(workers.send))
        await workers.until_asked(1)
        question.gone(ONE)
        await asking

    run(scene)
