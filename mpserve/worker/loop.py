"""The life of a loaded instance: pop a batch, execute it, until it is asked to stop.

Guarantees: what the queue still holds when it is retired is executed before the model is unloaded,
    and what a decoupled model still answers by its senders is answered. Who waits for ever is ended
    by the supervisor, when the time of draining is over.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from mpserve.control.messages import WorkerStart
from mpserve.runtimes.protocol import OverlappingRuntime, Request, Runtime
from mpserve.shm.instance_port import InstancePlaces, InstancePort, open_instance_port
from mpserve.worker.execution import Execution
from mpserve.worker.instance_rule import instance_rule
from mpserve.worker.loading import Loaded
from mpserve.worker.overlap import Overlap
from mpserve.worker.sequence_states import FOLDER as STATE_FOLDER
from mpserve.worker.sequence_states import StatefulModel

IDLE_MS: Final = 1000  # how often an instance that has become idle gives back what is not used


class Stop(Protocol):
    """Whether the worker was asked to end.

    Attributes
    ----------
    requested
        True from the moment it was asked.
    """

    requested: bool

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call `callback` from any thread when it is asked; at once when it was asked already."""


def serve(
    loaded: Loaded, stop: Stop, *, on_ready: Callable[[], None], on_end: Callable[[], None]
) -> None:
    """Serve requests until the queue is retired and empty, or until `stop`; then unload.

    Parameters
    ----------
    on_ready
        Called when the next request would be executed at once.
    on_end
        Called before the model is unloaded.
    """
    try:
        port = _open_port(loaded)
        on_ready()
        stop.on_request(port.wake)
        port.activate()
        if isinstance(loaded.runtime, OverlappingRuntime):
            _overlap(loaded, loaded.runtime, port, stop)
            return
        execution = Execution(_executing(loaded), port)
        is_stream = loaded.completed.config.decoupled
        run(port, execution.run_stream if is_stream else execution.run, stop)
        while not port.await_streams(IDLE_MS):
            pass
    finally:
        on_end()
        loaded.runtime.unload()


def _executing(loaded: Loaded) -> Runtime | StatefulModel:
    """Return the runtime, with the states of sequences around it if the model has some."""
    sequences = loaded.completed.config.sequences
    if sequences is None or not sequences.states:
        return loaded.runtime
    folder = Path(loaded.start.model_directory, STATE_FOLDER)
    return StatefulModel(loaded.runtime, sequences.states, folder)


def run(port: InstancePort, execute: Callable[[list[Request]], None], stop: Stop) -> None:
    """Pop and execute until the port ends or, with nothing waiting, until `stop`.

    Benchmark: `bench/micro/worker_loop.py`. One call each for pop, execute and complete.
    """
    pop = port.pop
    while True:
        try:
            requests = pop(IDLE_MS)
        except StopIteration:
            return
        if requests:
            execute(requests)
        elif stop.requested:
            return


def _overlap(loaded: Loaded, runtime: OverlappingRuntime, port: InstancePort, stop: Stop) -> None:
    port.set_decoupled(decoupled=True)  # what is not answered at once is left to its sender
    limit = loaded.start.places.arena_max_bytes
    Overlap(runtime, port, stop, idle_ms=IDLE_MS, arena_max_bytes=limit).serve()


def _open_port(loaded: Loaded) -> InstancePort:
    start = loaded.start
    return open_instance_port(instance_places(start), instance_rule(start, loaded.completed.config))


def instance_places(start: WorkerStart) -> InstancePlaces:
    """Return where an instance finds what it shares with others."""
    places = start.places
    return InstancePlaces(
        server_id=places.server_id,
        process_index=places.process_index,
        epoch=places.epoch,
        board_segment=places.board_segment,
        queue_segment=start.queue_segment,
        ring_segments=places.ring_segments,
        wake_fds=places.wake_fds,
        arena_initial_bytes=places.arena_initial_bytes,
        arena_max_bytes=places.arena_max_bytes,
        instance_slot=start.instance_slot,
        limiter_segment=start.limiter_segment,
        expects_answers=start.expects_answers,
    )
