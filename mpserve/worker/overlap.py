"""Serving of a model that waits for other things: several of its requests may be under way.

One thread pops, starts and answers. While nothing is under way it sleeps in the queue, as
`loop.run` does, and its event loop stands still; a request that waits for nothing costs no switch
of threads.
While a request waits (for a socket, a timer), or a task of the model's own does, the loop turns,
and a second thread sleeps in the queue.

Streams may have further requests, which the port has news of when it returns without a batch; a
stream whose client is gone is cancelled then.

Guarantees
    The next request is taken when the loop has done all that it can do at once: an instance that
    computes leaves what waits to the others. At most `MAX_UNDER_WAY` batches are under way. Streams
    that last as long as their clients send are at most `MAX_OPEN_STREAMS` beside them, and hold
    half of the queue at most; one more is refused at once. Each request is answered once; what has
    been taken is answered before the model is unloaded. A port that can not be asked ends the
    worker.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Protocol

from mpserve._native import InferenceResponseSender, has_room
from mpserve.errors import ErrorCode, Failure
from mpserve.runtimes.protocol import OverlappingRuntime, Request, Response
from mpserve.runtimes.responses import NativeResponses
from mpserve.shm.instance_port import InstancePort
from mpserve.worker.execution import checked_responses, failure_of
from mpserve.worker.stream_inputs import NoInputs, StreamInputs

MAX_UNDER_WAY: Final = 256
MAX_OPEN_STREAMS: Final = 256
TURNS: Final = 4
"""How often the loop is turned before a request counts as waiting: `gather` and the like take a few
turns without waiting for anything."""

ROOM_SECONDS: Final = 0.001  # between two looks at whether a slow reader has read
FINAL: Final = 1  # TRITONSERVER_RESPONSE_COMPLETE_FINAL

Batch = list[Request]
_CANCELLED: Final = Failure(code=ErrorCode.CANCELLED, message="the client is gone")
_TOO_MANY_STREAMS: Final = Failure(
    code=ErrorCode.EXHAUSTED,
    message="the instance of the model has as many streams open as it may; end one, or raise "
    "parallel_workers of the model",
)


class Stop(Protocol):
    """Whether the worker was asked to end."""

    requested: bool


class Overlap:
    """Serves a runtime on its event loop.

    Parameters
    ----------
    idle_ms
        How long one look into the queue may take.
    arena_max_bytes
        Bound of the shared memory for answers; streams wait for their readers at half of it.
    """

    def __init__(
        self,
        runtime: OverlappingRuntime,
        port: InstancePort,
        stop: Stop,
        *,
        idle_ms: int,
        arena_max_bytes: int,
    ) -> None:
        self._runtime = runtime
        self._loop = runtime.loop
        self._port = port
        self._stop = stop
        self._idle_ms = idle_ms
        self._room_bytes = arena_max_bytes // 2
        self._responses = NativeResponses()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._streams: set[_Stream] = set()
        self._open_streams = 0  # of `_streams` those whose clients may send further requests
        self._asks: SimpleQueue[Callable[[], Batch | None] | None] = SimpleQueue()  # None: the end
        self._is_asked = False
        self._popped: Batch | None = None
        self._broken: BaseException | None = None  # why the port can not be asked any more

    def serve(self) -> None:
        """Serve until the port ends or, with nothing waiting, until the stop."""
        popper = threading.Thread(target=self._pop_when_asked, name="queue", daemon=True)
        popper.start()
        try:
            while (requests := self._take()) is not None:
                if requests:
                    self._begin(requests)
                elif self._stop.requested:
                    break
            while self._under_way:
                self._await_news()
        finally:
            self._asks.put(None)
            popper.join()

    # --- taking ----------------------------------------------------------------------------------

    def _take(self) -> Batch | None:
        """Return what was popped, nothing after a time-out, `None` when the port has ended."""
        while len(self._under_way) - self._open_streams >= MAX_UNDER_WAY:
            self._await_news()
        if not self._under_way and not asyncio.all_tasks(self._loop):
            return self._pop()
        self._ask(self._pop)
        return self._popped

    def _ask(self, question: Callable[[], Batch | None]) -> None:
        """Let the second thread ask the port, and turn the loop meanwhile."""
        self._is_asked = True
        self._asks.put(question)
        while self._is_asked:
            self._loop.run_forever()
        if self._broken is not None:
            raise self._broken
        for stream in tuple(self._streams):
            stream.look()

    def _await_news(self) -> None:
        """Take nothing; go on with what is under way until something of it has changed."""
        self._ask(self._wait_for_news)
        self._turn()

    def _wait_for_news(self) -> Batch:
        self._port.await_news(self._idle_ms)
        return []

    def _pop(self) -> Batch | None:
        try:
            return self._port.pop(self._idle_ms)
        except StopIteration:
            return None

    def _pop_when_asked(self) -> None:
        """Be the second thread."""
        while (pop := self._asks.get()) is not None:
            popped = None
            try:
                popped = pop()
            except BaseException as error:  # noqa: BLE001  raised where it was asked for
                self._broken = error
            self._loop.call_soon_threadsafe(self._deliver, popped)
            del popped  # the port tells by it what the model has kept

    def _deliver(self, popped: Batch | None) -> None:
        self._popped, self._is_asked = popped, False
        self._loop.stop()

    # --- turning ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Do what can be done at once."""
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()

    # --- answering -------------------------------------------------------------------------------

    def _begin(self, requests: Batch) -> None:
        streams = [request for request in requests if request.takes_many()]
        plain = [request for request in requests if not request.takes_many()]
        refused = [request for request in streams if not self._start_stream(request)]
        if plain:
            task = self._loop.create_task(self._answer(plain))
            for _ in range(TURNS):
                self._turn()
                if task.done():
                    break
            if task.done() and not streams:
                del plain  # the port tells by it what the model has kept
                self._finish_at_once(requests, task.result())
                return
            self._under_way.add(task)
            task.add_done_callback(partial(self._finish, plain))
        self._port.detach(requests)
        for request in refused:
            self._send(request, self._responses.refuse(_TOO_MANY_STREAMS))

    def _start_stream(self, request: Request) -> bool:
        """Begin to answer a stream; false when there are too many."""
        is_open = request.has_more_inputs()
        if is_open and not self._has_stream_room():
            return False
        sender = _sender(request)
        inputs = StreamInputs(sender) if is_open else NoInputs()
        task = self._loop.create_task(self._answer_stream(request, sender, inputs))
        stream = _Stream(sender=sender, inputs=inputs, task=task)
        self._streams.add(stream)
        self._open_streams += is_open
        self._under_way.add(task)
        task.add_done_callback(partial(self._end_stream, stream, is_open=is_open))
        return True

    def _has_stream_room(self) -> bool:
        return self._open_streams < MAX_OPEN_STREAMS and self._port.has_stream_room()

    def _end_stream(self, stream: "_Stream", task: asyncio.Task[Any], *, is_open: bool) -> None:
        self._streams.discard(stream)
        self._open_streams -= is_open
        self._under_way.discard(task)

    async def _answer(self, requests: Batch) -> list[Response] | Failure:
        """Return what the batch is answered with. Nothing escapes."""
        try:
            answered = await self._runtime.execute_overlapping(requests)
            return checked_responses(self._runtime.name, answered, wanted=len(requests))
        except BaseException as error:  # noqa: BLE001  # a request never ends the worker
            return failure_of(error)

    def _finish_at_once(self, requests: Batch, found: list[Response] | Failure) -> None:
        if isinstance(found, Failure):
            self._port.fail(requests, found.code, found.message)
        else:
            self._port.complete(requests, found)

    def _finish(self, requests: Batch, task: asyncio.Task[list[Response] | Failure]) -> None:
        """Answer a batch that was left to its senders."""
        self._under_way.discard(task)
        found = task.result()
        answers: Sequence[Response] = (
            [self._responses.refuse(found)] * len(requests) if isinstance(found, Failure) else found
        )
        while requests:
            self._send(requests.pop(0), answers[-len(requests) - 1])

    async def _answer_stream(
        self,
        request: Request,
        sender: InferenceResponseSender,
        inputs: StreamInputs | NoInputs,
    ) -> None:
        """Send what the model yields, at the client's pace. Nothing escapes."""
        try:
            async with aclosing(self._runtime.stream(request, inputs)) as answers:
                async for answer in answers:
                    if not await self._has_room(sender):
                        break
                    sender.send(answer)
            sender.send(None, FINAL)
        except BaseException as error:  # noqa: BLE001  # a request never ends the worker
            is_ours = isinstance(error, asyncio.CancelledError) and sender.is_cancelled()
            self._send(
                request, self._responses.refuse(_CANCELLED if is_ours else failure_of(error))
            )

    async def _has_room(self, sender: InferenceResponseSender) -> bool:
        """Wait until readers have read; false when nobody wants the answer any more."""
        while not has_room(sender) or self._port.arena_used_bytes > self._room_bytes:
            if sender.is_cancelled():
                return False
            await asyncio.sleep(ROOM_SECONDS)
        return not sender.is_cancelled()

    def _send(self, request: Request, answer: Response) -> None:
        """Send the only, or the last, answer."""
        try:
            _sender(request).send(answer, FINAL)
        except Exception as error:  # noqa: BLE001  # the answer can not be written
            refusal = self._responses.refuse(failure_of(error))
            _sender(request).send(refusal, FINAL)


def _sender(request: Any) -> InferenceResponseSender:  # noqa: ANN401  # native; the protocol has none
    sender: InferenceResponseSender = request.get_response_sender()
    return sender


class _Stream:
    """A stream that is answered."""

    def __init__(
        self,
        *,
        sender: InferenceResponseSender,
        inputs: StreamInputs | NoInputs,
        task: asyncio.Task[Any],
    ) -> None:
        self._sender = sender
        self._inputs = inputs
        self._task = task
        self._is_cancelled = False

    def look(self) -> None:
        """Cancel it when its client is gone, else let it look for its next request."""
        if self._sender.is_cancelled() and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()
        self._inputs.look()
