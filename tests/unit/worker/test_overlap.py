"""What becomes of a worker whose requests overlap when its queue can not be asked any more."""

import asyncio
import threading

import pytest

from mpserve.worker.overlap import Overlap


class Waiting:
    """A model whose requests wait for ever."""

    name = "waiting"

    def __init__(self):
        self.loop = asyncio.new_event_loop()

    async def execute_overlapping(self, _requests):
        await asyncio.Event().wait()


class Plain:
    def takes_many(self):
        return False


class Broken:
    """A port that gives one request, and then fails whoever asks."""

    def __init__(self):
        self.askers = []

    def pop(self, _idle_ms):
        self.askers.append(threading.current_thread().name)
        if len(self.askers) > 1:
            raise OSError("the segment is gone")
        return [Plain()]

    def detach(self, _requests):
        pass


class Running:
    requested = False


@pytest.mark.timeout(20)
def test_a_queue_that_fails_ends_the_worker_while_requests_wait():
    runtime, port = Waiting(), Broken()
    overlap = Overlap(runtime, port, Running(), idle_ms=10, arena_max_bytes=1 << 20)
    try:
        with pytest.raises(OSError, match="the segment is gone"):
            overlap.serve()
    finally:
        for task in asyncio.all_tasks(runtime.loop):
            task.cancel()
        runtime.loop.run_until_complete(asyncio.sleep(0))
        runtime.loop.close()
    assert port.askers[1:] == ["queue"]
