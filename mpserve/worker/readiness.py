"""Asks a model that can tell whether it is ready, and tells the supervisor when that changes.

Guarantees
    The first answer is told before the instance counts as loaded. One check at a time; one that
    takes longer than `LIMIT_SECONDS` counts as a no until it ends. A model that does not check
    itself costs nothing: there is no thread then.

Source: triton.md 7.2. Triton asks at each readiness request; here those cost no model anything.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from mpserve.control.message import Message
from mpserve.control.messages import WorkerChecked
from mpserve.runtimes.protocol import Runtime, SelfCheckingRuntime

PAUSE_SECONDS: Final = 1.0
LIMIT_SECONDS: Final = 5.0


class Readiness:
    """Begins when the model is loaded; ends with the process.

    Parameters
    ----------
    send
        Of the control channel.
    """

    def __init__(
        self,
        send: Callable[[Message], None],
        *,
        instance_name: str,
        pause_seconds: float = PAUSE_SECONDS,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        self._send = send
        self._instance_name = instance_name
        self._pause_seconds = pause_seconds
        self._limit_seconds = limit_seconds
        self._answers: SimpleQueue[str] = SimpleQueue()
        self._next = threading.Event()  # the model may be asked once more
        self._lock = threading.Lock()  # what is told is told in order
        self._told = ""

    def begin(self, runtime: Runtime) -> None:
        """Ask for the first time, and from now on beside the requests."""
        if not isinstance(runtime, SelfCheckingRuntime) or not runtime.checks_itself:
            return
        asking = threading.Thread(target=self._ask, args=(runtime,), name="is_ready", daemon=True)
        asking.start()
        is_answered = self._await_answer()
        telling = threading.Thread(
            target=self._go_on, args=(is_answered,), name="readiness", daemon=True
        )
        telling.start()

    def tell_again(self) -> None:
        """Tell another supervisor, which takes an instance that says nothing to be ready."""
        with self._lock:
            if self._told:
                self._send(WorkerChecked(complaint=self._told))

    def _ask(self, runtime: SelfCheckingRuntime) -> None:
        while True:
            self._answers.put(runtime.complaint())
            self._next.wait()
            self._next.clear()

    def _go_on(self, is_answered: bool) -> None:  # noqa: FBT001  what begin has seen
        pause = threading.Event()
        while True:
            if not is_answered:
                self._tell(self._answers.get())
            pause.wait(self._pause_seconds)
            self._next.set()
            is_answered = self._await_answer()

    def _await_answer(self) -> bool:
        """Tell what the model says; false when it has not said anything in time."""
        try:
            self._tell(self._answers.get(timeout=self._limit_seconds))
        except Empty:
            self._tell(
                f"Model '{self._instance_name}' is not ready: is_ready() has not answered within"
                f" {self._limit_seconds:g} seconds"
            )
            return False
        return True

    def _tell(self, complaint: str) -> None:
        with self._lock:
            if complaint != self._told:
                self._told = complaint
                self._send(WorkerChecked(complaint=complaint))
