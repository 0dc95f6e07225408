"""The thread of a worker that hears the supervisor, whatever the model is doing.

Guarantees
    `StopWorker` and the end of the control socket (the supervisor died) ask the loop to end. While
    the model loads the loop could not listen, so the process ends at once. A worker without a
    supervisor ends for certain, after `ORPHAN_SECONDS` if its model hangs.
"""

import os
import threading
import time
from typing import Final

from mpserve.control.channel import BlockingChannel
from mpserve.control.messages import SetLog, StopWorker, ToWorker
from mpserve.telemetry import log
from mpserve.telemetry.logging_bridge import follow_level
from mpserve.worker.model_server import ModelServer
from mpserve.worker.stop_request import StopRequest

EXIT_STOPPED: Final = 0
EXIT_ORPHANED: Final = 75  # EX_TEMPFAIL: the model did not let go in time
ORPHAN_SECONDS: Final = 30.0
"""How long a request may run on without a supervisor; as long as `--exit-timeout-secs`."""


class ControlThread:
    """Listens from its start to the end of the process."""

    def __init__(
        self, channel: BlockingChannel[ToWorker], stop: StopRequest, server: ModelServer
    ) -> None:
        self._channel = channel
        self._stop = stop
        self._server = server
        self._is_loading = True
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def loading_done(self) -> None:
        """From now on the loop hears a request to stop."""
        self._is_loading = False

    def _listen(self) -> None:
        while True:
            message = self._channel.receive()
            match message:
                case None:
                    self._server.on_gone()
                    self._end()
                    time.sleep(ORPHAN_SECONDS)
                    os._exit(EXIT_ORPHANED)
                case StopWorker():
                    self._end()
                case SetLog():
                    log.switch(message.switches)
                    follow_level()
                case _:
                    self._server.on_message(message)

    def _end(self) -> None:
        if self._is_loading:
            os._exit(EXIT_STOPPED)
        self._stop.request()
