"""What the wish to end does to work that goes on."""

import asyncio
import signal

from mpserve.supervisor.stop import Stop


async def for_ever(ended: list[str]) -> str:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("cancelled")
    return "never"


async def at_once() -> str:
    return "done"


def test_work_that_ends_by_itself_gives_its_result():
    async def both() -> tuple[str | None, str | None]:
        stop = Stop()
        return await stop.unless_asked(at_once()), await stop.unless_at_once(at_once())

    assert asyncio.run(both()) == ("done", "done")


def test_the_first_signal_ends_what_need_not_be_finished_and_the_second_everything():
    async def signals() -> list[object]:
        stop, ended = Stop(), list[str]()
        serving = asyncio.ensure_future(stop.unless_at_once(for_ever(ended)))
        starting = asyncio.ensure_future(stop.unless_asked(for_ever(ended)))
        await asyncio.sleep(0)
        stop.on_signal(0)
        seen: list[object] = [await starting, list(ended), serving.done()]
        stop.on_signal(0)
        return [*seen, await serving, ended]

    told = asyncio.run(signals())
    assert told == [None, ["cancelled"], False, None, ["cancelled", "cancelled"]]


def test_a_signal_is_told(capfd):
    async def told() -> None:
        Stop().on_signal(signal.SIGTERM)

    asyncio.run(told())
    assert capfd.readouterr().out == f"Signal ({signal.SIGTERM:d}) received.\n"
