"""The thread of a worker that tells the supervisor what its model has counted.

Guarantees
    The first change is told before the model goes on, so that the supervisor knows whom to ask when
    somebody looks; further ones at most every `PAUSE_SECONDS`, and at once when it asks. A model
    that counts nothing costs nothing: there is no thread then. What was counted is told before an
    orderly end.
"""

import threading
from collections.abc import Callable
from typing import Final

from mpserve.control.message import Message
from mpserve.control.messages import WorkerMetrics
from mpserve.telemetry.model_metrics import MetricsRecorder

PAUSE_SECONDS: Final = 0.1


class MetricsThread:
    """Starts with the first change, or with what was counted before this process was forked.

    Parameters
    ----------
    send
        Of the control channel.
    """

    def __init__(self, send: Callable[[Message], None], recorder: MetricsRecorder) -> None:
        self._send = send
        self._recorder = recorder
        self._has_changed = threading.Event()
        self._has_ended = threading.Event()
        self._starting = threading.Lock()
        self._is_started = False
        self._thread: threading.Thread | None = None
        recorder.on_change = self._on_change
        if recorder.told():
            self._on_change()

    def tell_again(self) -> None:
        """Tell all once more: another supervisor listens now."""
        if self._is_started:
            self._has_changed.set()

    def answer(self, question: int) -> None:
        """Tell all now; called from the thread that heard the question."""
        self._tell(question)

    def end(self) -> None:
        """Tell what was not told yet; no more after this."""
        self._recorder.on_change = lambda: None
        if self._thread is not None:
            self._has_ended.set()
            self._has_changed.set()
            self._thread.join()
            self._tell()

    def _on_change(self) -> None:
        if not self._has_changed.is_set():
            self._has_changed.set()
        if not self._is_started:
            self._start()

    def _start(self) -> None:
        # Nothing is made under the lock: memory that is freed then may change a metric.
        with self._starting:
            is_first = not self._is_started
            self._is_started = True
        if is_first:
            self._tell()
            thread = threading.Thread(target=self._run, name="metrics", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while not self._has_ended.is_set():
            self._has_changed.wait()
            self._has_changed.clear()
            self._tell()
            self._has_ended.wait(PAUSE_SECONDS)

    def _tell(self, question: int = 0) -> None:
        self._send(WorkerMetrics(families=self._recorder.told(), question=question))
