"""Requests of a worker's model to models: one dispatcher, and the thread that takes its answers.

Guarantees
    Requests of any thread; whoever waits is told by the thread that takes answers. Requests that
    wait for each other in a circle are refused, not left to hang (`dispatch.deadlock`).
Owner
    The worker, from the model's first request to another one until the process ends.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mpserve.control.messages import CallersJoined, PublishTable, WorkerStart
from mpserve.dispatch.ensemble_answer import OnAnswer
from mpserve.dispatch.model_calls import ModelCalls, OwnPlace
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.dispatch.tracer import Tracer
from mpserve.model.request import InferRequest
from mpserve.shm.dispatcher import CallerPlaces, open_caller_dispatcher
from mpserve.shm.model_queue import ModelQueue
from mpserve.telemetry import log

LOOK_MS: Final = 250  # between two looks at what waits too long and what is unused
GRACE_NS: Final = 2_000_000_000
"""How long an instance that waits in other ways than by `exec` may have other work to do."""

FULL_MS: Final = 1  # until a full queue is looked at again
TABLE_SECONDS: Final = 10.0  # the first table follows the answer to the join at once


class InnerCalls:
    """The calling side of one worker. It takes answers from the first table on."""

    def __init__(
        self, joined: CallersJoined, start: WorkerStart, *, now_ns: Callable[[], int]
    ) -> None:
        places = start.places
        self._now_ns = now_ns
        self._lock = threading.RLock()
        self._soon: deque[Callable[[], None]] = deque()
        self._cancelled: deque[int] = deque()
        self._timers: list[tuple[int, Callable[[], None]]] = []  # when, what
        caller = open_caller_dispatcher(
            CallerPlaces(
                server_id=places.server_id,
                process_index=joined.process_index,
                epoch=joined.epoch,
                ring_index=joined.ring_index,
                board_segment=places.board_segment,
                arena_initial_bytes=places.arena_initial_bytes,
                arena_max_bytes=places.arena_max_bytes,
            ),
            call_soon=self._soon.append,
            call_later=self._call_later,
        )
        self._dispatcher = caller.dispatcher
        self._ring = caller.ring.native
        self._tracer = Tracer(
            self._dispatcher, server_id=places.server_id, export=start.span_export
        )
        self._calls = ModelCalls(
            self._dispatcher,
            own=OwnPlace(
                queue=ModelQueue.attach(start.queue_segment),
                instance_slot=start.instance_slot,
                caller=joined.process_index,
                first_caller_ring=len(places.ring_segments),
            ),
            call_soon=self._soon.append,
            now_ns=now_ns,
            tracer=self._tracer,
        )
        self._look_ns = 0  # when the next look is due
        self._has_table = threading.Event()
        self._pump = threading.Thread(target=self._take_answers, name="inner calls", daemon=True)

    def apply(self, table: PublishTable) -> None:
        """Take a change of the supervisor's table."""
        with self._turn():
            self._calls.apply(table)
        if not self._has_table.is_set():
            self._pump.start()
            self._has_table.set()

    def close(self) -> None:
        """Export what waits of traces."""
        self._tracer.close()

    def wait_for_table(self) -> bool:
        """Wait until the first table has come; false when it does not."""
        return self._has_table.wait(TABLE_SECONDS)

    def is_ready(self, name: str, version: str) -> bool:
        """Tell whether a model takes requests."""
        with self._turn():
            return self._calls.is_ready(name, version)

    def start(
        self,
        request: InferRequest,
        *,
        find: Callable[[ModelCalls], RoutedModel],
        on_answer: OnAnswer,
        blocks: bool,
    ) -> int:
        """Send a request to the version that `find` returns; return its number.

        Parameters
        ----------
        blocks
            The caller does nothing else until it is answered.

        Raises
        ------
        MpserveError
            What `find` raises; or the request does not fit, or is refused now.
        """
        does_nothing_else = blocks and threading.current_thread() is threading.main_thread()
        grace_ns = 0 if does_nothing_else else GRACE_NS
        with self._turn():
            number = self._calls.start(
                request,
                routed=find(self._calls),
                on_answer=on_answer,
                waits_from_ns=self._now_ns() + grace_ns,
            )
        if self._dispatcher.has_unpushed:  # a full queue: the pump looks again soon
            self._ring.wake_sleeper()
        return number

    def cancel(self, number: int) -> None:
        """Take a request back, soon. May be called at any moment, also while memory is freed."""
        self._cancelled.append(number)
        self._ring.wake_sleeper()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread at a time; what was put off is done at the end."""
        with self._lock:
            try:
                yield
            finally:
                while self._soon:
                    self._soon.popleft()()

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append((self._now_ns() + int(seconds * 1e9), callback))
        self._ring.wake_sleeper()

    def _run_timers(self) -> None:
        now_ns = self._now_ns()
        due = [callback for at_ns, callback in self._timers if at_ns <= now_ns]
        self._timers = [timer for timer in self._timers if timer[0] > now_ns]
        for callback in due:
            callback()

    def _idle_ms(self) -> int:
        with self._lock:
            next_ns = min((at_ns for at_ns, _ in self._timers), default=None)
        if next_ns is None:
            return LOOK_MS
        return max(0, min(LOOK_MS, (next_ns - self._now_ns()) // 1_000_000 + 1))

    def _take_answers(self) -> None:
        while True:
            try:
                self._take_once()
            except Exception as error:  # noqa: BLE001  # the border: others wait for their answers
                log.error("calls.broke", reason=repr(error))
            self._ring.sleep(FULL_MS if self._dispatcher.has_unpushed else self._idle_ms())

    def _take_once(self) -> None:
        with self._turn():
            self._dispatcher.on_wake()
            while self._cancelled:
                self._calls.cancel(self._cancelled.popleft())
            self._run_timers()
        now_ns = self._now_ns()
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + LOOK_MS * 1_000_000
            with self._turn():
                self._calls.upkeep()
                self._calls.break_circle()
