"""What a worker does before there is a model for it: all that is the same for every one.

Guarantees
    A model finds nothing of it: neither modules nor paths of the rehearsal are left.
Assumes
    The process is single-threaded, and a fork of the spawner: what it writes to for the first time
    are pages that both still share, 5 us each.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from mpserve.compat import triton_bls
from mpserve.compat.triton_place import set_model_dir
from mpserve.compat.triton_python_backend_utils import MODULE_NAME, NATIVE_NAME
from mpserve.control.channel import BlockingChannel
from mpserve.control.door import own_stderr
from mpserve.control.framing import encode_frame
from mpserve.control.message import Message
from mpserve.control.messages import (
    SharedPlaces,
    StopWorker,
    ToWorker,
    WorkerReady,
    WorkerStart,
)
from mpserve.errors import LoadError
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version
from mpserve.model.log_switches import LogSwitches
from mpserve.shm.instance_port import open_instance_port
from mpserve.shm.segment import PREFIX
from mpserve.telemetry.model_metrics import MetricsRecorder
from mpserve.worker.control_calls import ControlCalls
from mpserve.worker.instance_rule import instance_rule
from mpserve.worker.loading import Loaded, load
from mpserve.worker.loop import instance_places
from mpserve.worker.main import control_thread, live, prepare_for, prepare_for_any
from mpserve.worker.metrics_thread import MetricsThread
from mpserve.worker.model_server import ModelServer
from mpserve.worker.readiness import Readiness
from mpserve.worker.stop_request import StopRequest
from mpserve.worker.supervisor_link import Received

FOLDER: Final = str(Path(__file__).parent / "rehearsal")
_PACKAGE: Final = Path(FOLDER).name
_NAMES: Final = frozenset({_PACKAGE, MODULE_NAME, NATIVE_NAME})  # what else is new is ours
_CONFIG_JSON: Final = (
    '{"name":"rehearsal","backend":"python","max_batch_size":0,"output":[{"name":"OUTPUT",'
    '"data_type":"TYPE_FP32","dims":[-1]}]}'
)
_START: Final = WorkerStart(
    instance=InstanceKey(
        name=ModelName("rehearsal"), version=Version("1"), generation=Generation(0), index=0
    ),
    instance_name="rehearsal_0",
    instance_kind="KIND_CPU",
    instance_slot=0,
    places=SharedPlaces(
        server_id="",
        board_segment=f"{PREFIX}rehearsal",  # there is none
        process_index=0,
        epoch=0,
        ring_segments=(),
        wake_fds=(),
        arena_initial_bytes=0,
        arena_max_bytes=0,
    ),
    queue_segment="",
    runtime="python",
    format=ConfigFormat.TRITON,
    model_directory=FOLDER,
    version_directory=FOLDER,
    config=ModelConfig(),
    config_json=_CONFIG_JSON,
    settings_json="",
    complete_config=True,
    log=LogSwitches(),
)


def begin() -> Callable[[WorkerStart, socket.socket], int]:
    """Prepare this process; return what is called with its instance, as `main.main`."""
    prepare_for_any()
    rehearse()
    listening = control_thread()

    def be_born(start: WorkerStart, control: socket.socket) -> int:
        prepare_for(start)
        return live(start, control, listening=listening)

    return be_born


def rehearse() -> None:
    """Load a model of ours, and talk to nobody, as a worker does."""
    start = msgspec.msgpack.decode(msgspec.msgpack.encode(_START), type=WorkerStart)
    prepare_for(start)
    try:
        with nothing_left():
            loaded = load(start)
            loaded.runtime.unload()
    except LoadError:  # the server's own files were replaced, which workers do not need
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel: BlockingChannel[Received] = BlockingChannel(theirs, ToWorker)
        ours.sendall(encode_frame(StopWorker()))
        channel.receive()
        _converse(start, loaded, channel.send)
    places = instance_places(start)
    with contextlib.suppress(FileNotFoundError):
        open_instance_port(places, instance_rule(start, loaded.completed.config))


def _converse(start: WorkerStart, loaded: Loaded, send: Callable[[Message], None]) -> None:
    """Make what talks to the supervisor, and say what a worker says."""
    stderr_fd = own_stderr()
    if stderr_fd >= 0:
        os.close(stderr_fd)
    StopRequest().request()
    ModelServer(ControlCalls(send), start)
    MetricsThread(send, MetricsRecorder())
    Readiness(send, instance_name=start.instance_name).begin(loaded.runtime)
    completed = loaded.completed
    send(WorkerReady(config=completed.config, config_json=completed.config_json, load_ms=0))


@contextmanager
def nothing_left() -> Iterator[None]:
    """Take back what a load changes in the interpreter."""
    modules, path, importers = set(sys.modules), list(sys.path), set(sys.path_importer_cache)
    phase = triton_bls.current_phase()
    no_bytecode = sys.dont_write_bytecode
    try:
        yield
    finally:
        for name in set(sys.modules) - modules:
            if name in _NAMES or name.startswith(f"{_PACKAGE}."):
                del sys.modules[name]
        for folder in set(sys.path_importer_cache) - importers:
            del sys.path_importer_cache[folder]
        sys.path[:] = path
        sys.dont_write_bytecode = no_bytecode
        set_model_dir("")
        triton_bls.enter(phase)
