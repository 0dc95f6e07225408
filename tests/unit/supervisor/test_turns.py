"""Turns by name."""

import asyncio

import pytest

from mpserve.supervisor.turns import Turns


def test_the_same_name_takes_turns_in_order_and_others_do_not_wait():
    async def scenario() -> list[str]:
        turns, told, may_go = Turns(), [], asyncio.Event()

        async def one(name: str, word: str) -> None:
            async with turns.turn(name):
                if word == "first":
                    await may_go.wait()
                if word == "other":  # which comes last and is first all the same
                    may_go.set()
                told.append(word)

        async with asyncio.TaskGroup() as tasks:
            for name, word in [("a", "first"), ("a", "second"), ("a", "third"), ("b", "other")]:
                tasks.create_task(one(name, word))
        assert len(turns) == 0
        return told

    assert asyncio.run(scenario()) == ["other", "first", "second", "third"]


def test_who_gives_up_waiting_or_fails_leaves_nothing():
    async def scenario() -> None:
        turns = Turns()
        async with turns.turn("a"):
            waiting = asyncio.ensure_future(turns.turn("a").__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert len(turns) == 1
        with pytest.raises(ValueError, match="it failed"):
            async with turns.turn("a"):
                raise ValueError("it failed")
        assert len(turns) == 0

    asyncio.run(scenario())
