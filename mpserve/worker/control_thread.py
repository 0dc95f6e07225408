"""The thread of a worker that hears the supervisor, whatever the model is doing.

Guarantees
    `StopWorker` asks the loop to end. While the model loads the loop could not listen, so the
    process ends at once. When the supervisor dies, the thread turns to the next one, also while the
    loop ends; the model notices nothing. A worker without a server ends for certain, after
    `ORPHAN_SECONDS` if its model hangs.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from mpserve.control.messages import SetLog, StopWorker, TellMetrics
from mpserve.telemetry import log
from mpserve.telemetry.logging_bridge import follow_level
from mpserve.worker.model_server import ModelServer
from mpserve.worker.stop_request import StopRequest
from mpserve.worker.supervisor_link import SupervisorLink
from mpserve.worker.waiting_thread import WaitingThread

EXIT_STOPPED: Final = 0
EXIT_ORPHANED: Final = 75  # EX_TEMPFAIL: the model did not let go in time
ORPHAN_SECONDS: Final = 30.0
"""How long a request may run on without a server; as long as `--exit-timeout-secs`."""


class ControlThread:
    """Listens from its start to the end of the process.

    Parameters
    ----------
    thread
        Runs already.
    on_question
        Called with the number of each question for metrics.
    on_replaced
        Called when another supervisor has taken over.
    """

    def __init__(
        self,
        link: SupervisorLink,
        stop: StopRequest,
        server: ModelServer,
        *,
        thread: WaitingThread,
        on_question: Callable[[int], None],
        on_replaced: Callable[[], None],
    ) -> None:
        self._on_question = on_question
        self._on_replaced = on_replaced
        self._link = link
        self._stop = stop
        self._server = server
        self._is_loading = True
        self._thread = thread

    def start(self) -> None:
        """Listen from now on."""
        self._thread.do(self._listen)

    def loading_done(self) -> None:
        """From now on the loop hears a request to stop."""
        self._is_loading = False

    def _listen(self) -> None:
        while True:
            message = self._link.receive()
            match message:
                case None:
                    self._come_back()
                case StopWorker():
                    self._end()
                case SetLog():
                    log.switch(message.switches)
                    follow_level()
                case TellMetrics():
                    self._on_question(message.question)
                case _:
                    self._server.on_message(message)

    def _come_back(self) -> None:
        """Turn to the next supervisor. Does not return when there will be none."""
        if self._link.come_back():
            self._server.on_replaced()
            self._on_replaced()
            return
        self._server.on_gone()
        self._end()
        time.sleep(ORPHAN_SECONDS)
        os._exit(EXIT_ORPHANED)

    def _end(self) -> None:
        if self._is_loading:
            os._exit(EXIT_STOPPED)
        self._stop.request()
