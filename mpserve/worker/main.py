"""Process of one model instance: load, tell, serve, end.

Exit codes: 0 when it was asked to end, `EXIT_LOAD_FAILED` after a load that failed.
"""

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from mpserve.compat.triton_bls import connect
from mpserve.control.messages import (
    WorkerLoadFailed,
    WorkerReady,
    WorkerStart,
)
from mpserve.control.patience import be_patient, be_prompt
from mpserve.errors import MpserveError
from mpserve.telemetry import log
from mpserve.telemetry.logging_bridge import bridge_logging, follow_level
from mpserve.telemetry.model_metrics import RECORDER
from mpserve.worker.control_calls import ControlCalls
from mpserve.worker.control_thread import ControlThread
from mpserve.worker.cpu_binding import bind_to
from mpserve.worker.loading import Loaded, load
from mpserve.worker.loop import serve
from mpserve.worker.memory_bound import bound_memory
from mpserve.worker.metrics_thread import MetricsThread
from mpserve.worker.model_server import ModelServer
from mpserve.worker.readiness import Readiness
from mpserve.worker.standard_output import bear_lost_output
from mpserve.worker.stop_request import StopRequest
from mpserve.worker.supervisor_link import SupervisorLink
from mpserve.worker.waiting_thread import WaitingThread

EXIT_OK: Final = 0
EXIT_LOAD_FAILED: Final = 66  # EX_NOINPUT: the model can not be used


def main(
    start: WorkerStart,
    control: socket.socket,
    *,
    loading: Callable[[SupervisorLink], Loaded | None] | None = None,
) -> int:
    """Be the worker of the instance that `start` names; return the exit code.

    Parameters
    ----------
    loading
        Returns what is served, or tells the supervisor why there is nothing; a load in this
        process when not given.
    """
    prepare(start)
    return live(start, control, listening=control_thread(), loading=loading)


def control_thread() -> WaitingThread:
    """Return the thread that is to hear the supervisor."""
    thread = WaitingThread("control")
    thread.start()
    return thread


def live(
    start: WorkerStart,
    control: socket.socket,
    *,
    listening: WaitingThread,
    loading: Callable[[SupervisorLink], Loaded | None] | None = None,
) -> int:
    """Be a worker in a prepared process; `listening` hears the supervisor. See `main`."""
    link = SupervisorLink(control, start.places)
    stop = StopRequest()
    server = ModelServer(ControlCalls(link.send), start)
    connect(server)
    metrics = MetricsThread(link.send, RECORDER)
    readiness = Readiness(link.send, instance_name=start.instance_name)

    def tell_again() -> None:
        metrics.tell_again()
        readiness.tell_again()

    listener = ControlThread(
        link,
        stop,
        server,
        thread=listening,
        on_question=metrics.answer,
        on_replaced=tell_again,
    )
    listener.start()
    begun_ns = time.monotonic_ns()
    loaded = _load(start, link) if loading is None else loading(link)
    if loaded is None:
        return EXIT_LOAD_FAILED

    def tell_ready() -> None:
        readiness.begin(loaded.runtime)
        listener.loading_done()
        be_prompt()
        link.tell(
            WorkerReady(
                config=loaded.completed.config,
                config_json=loaded.completed.config_json,
                load_ms=(time.monotonic_ns() - begun_ns) // 1_000_000,
            )
        )

    if start.passive:
        tell_ready()
        _wait(loaded, stop)
    else:
        serve(loaded, stop, on_ready=tell_ready, on_end=be_patient)
    metrics.end()
    server.close()
    return EXIT_OK


def prepare(start: WorkerStart) -> None:
    """Make this process that of an instance."""
    prepare_for_any()
    prepare_for(start)


def prepare_for_any() -> None:
    """Make this process a worker's: signals, output, arguments, random numbers."""
    be_patient()
    _leave_signals_to_supervisor()
    bear_lost_output()
    # None, as in Triton's stub: a model that parses them (argparse, unittest) gets its defaults.
    sys.argv = [""]
    bridge_logging()
    _seed_numpy()


def prepare_for(start: WorkerStart) -> None:
    """Let this process be told from others in the log."""
    key = start.instance
    log.configure(
        start.log,
        role=f"worker:{key.name}:{key.version}:{key.index}",
    )
    follow_level()
    if start.logging.is_set:
        # Here, because few want it and it costs milliseconds.
        from mpserve.telemetry.logging_sink import divert_to_logging  # noqa: PLC0415

        divert_to_logging(start.logging)


def _leave_signals_to_supervisor() -> None:
    """Let a signal to the whole group (Ctrl-C, a service manager) not end requests in flight.

    SIGTERM has a handler and is not ignored, because what is ignored stays so in the programs that
    a model starts, which could then not be terminated.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker_pid = os.getpid()

    def ignore(number: int, _frame: object) -> None:
        if os.getpid() != worker_pid:  # a fork of the model: it may be terminated
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, ignore)


def _seed_numpy() -> None:
    """Every fork of the spawner has the same state; models that draw numbers must differ."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _load(start: WorkerStart, link: SupervisorLink) -> Loaded | None:
    """Load the model; tell the supervisor when that fails."""
    try:
        bind_to(start.cpus)
        bound_memory(start.config.memory_limit_mib)
        return load(start)
    except MpserveError as error:
        link.tell(WorkerLoadFailed(failure=error.failure(), traceback=traceback.format_exc()))
        return None


def _wait(loaded: Loaded, stop: StopRequest) -> None:
    """Hold a passive instance until it is asked to end."""
    try:
        done = threading.Event()
        stop.on_request(done.set)
        done.wait()
    finally:
        loaded.runtime.unload()
