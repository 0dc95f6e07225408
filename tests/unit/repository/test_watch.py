import asyncio
import shutil
import time

import pytest

from mpserve.repository.watch import Wake, concerns_models, wakes

DEADLINE_S = 20.0
LONG_S = 600.0  # an interval that no test waits for


def first_wakes(roots, *, interval_s, count=1, meanwhile=None):
    """Return the first wakes, with `meanwhile(number of wakes so far)` called again and again."""

    async def collect() -> list[Wake]:
        found: list[Wake] = []
        stop = asyncio.Event()

        async def act() -> None:
            while not stop.is_set():
                meanwhile(len(found))
                await asyncio.sleep(0.02)

        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            if meanwhile is not None:
                tasks.create_task(act())
            async for wake in wakes(roots, interval_s=interval_s, stop=stop):
                found.append(wake)
                if len(found) == count:
                    stop.set()
        return found

    return asyncio.run(collect())


def test_a_change_wakes_early(root, write):
    numbers = iter(range(10**6))
    found = first_wakes(
        [str(root)],
        interval_s=LONG_S,
        meanwhile=lambda _: write({f"m{next(numbers)}/config.pbtxt": ""}),
    )
    assert found == [Wake.CHANGE]


def test_without_a_change_the_interval_wakes(root):
    found = first_wakes([str(root)], interval_s=0.05, count=3)
    assert found == [Wake.INTERVAL] * 3


def test_what_tools_write_does_not_wake_but_neither_does_it_delay_the_interval(root, write):
    numbers = iter(range(10**6))
    begun = time.monotonic()
    found = first_wakes(
        [str(root)],
        interval_s=0.8,
        meanwhile=lambda _: write({f"m.{next(numbers)}~": ""}),
    )
    assert found == [Wake.INTERVAL]
    assert time.monotonic() - begun >= 0.8


def test_a_missing_root_is_left_to_the_interval(root):
    assert first_wakes([f"{root}/gone"], interval_s=0.05, count=2) == [Wake.INTERVAL] * 2


def test_a_root_that_comes_back_is_watched_again(root, write):
    shutil.rmtree(root)
    numbers = iter(range(10**6))

    def create(found: int) -> None:
        if found:
            write({f"m{next(numbers)}/config.pbtxt": ""})

    found = first_wakes([str(root)], interval_s=0.3, count=6, meanwhile=create)
    assert found[0] is Wake.INTERVAL
    assert Wake.CHANGE in found


def test_a_root_that_appears_beside_another_is_watched_too(root, write):
    numbers = iter(range(10**6))

    def create(found: int) -> None:
        if found:
            write({f"late/m{next(numbers)}/config.pbtxt": ""})

    (root / "early").mkdir()
    roots = [f"{root}/early", f"{root}/late"]
    found = first_wakes(roots, interval_s=0.3, count=6, meanwhile=create)
    assert Wake.CHANGE in found


def test_stop_ends_the_iteration_at_once(root):
    async def stopped() -> list[Wake]:
        stop = asyncio.Event()
        stop.set()
        return [wake async for wake in wakes([str(root)], interval_s=LONG_S, stop=stop)]

    assert asyncio.run(stopped()) == []


def test_stop_ends_a_wait_of_any_length(root):
    async def stopped() -> list[Wake]:
        stop = asyncio.Event()
        async with asyncio.timeout(DEADLINE_S):
            asyncio.get_running_loop().call_later(0.1, stop.set)
            return [wake async for wake in wakes([str(root)], interval_s=LONG_S, stop=stop)]

    assert asyncio.run(stopped()) == []


@pytest.mark.parametrize(
    ("path", "concerns"),
    [
        ("/models/m/1/model.py", True),
        ("/models/m", True),
        ("/models/m/1/__pycache__/model.pyc", False),
        ("/models/m/1/__pycache__", False),
        ("/models/m/.config.pbtxt.swp", False),
    ],
)
def test_only_files_of_models_concern_models(path, concerns):
    assert concerns_models(path) is concerns
