"""A frontend's side in the test's thread, an instance in another, over real shared memory."""

import os
import threading

import numpy as np
import pytest

from mpserve import _native
from mpserve.model.config import ModelConfig
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.runtimes.protocol import CompletedConfig
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.model_queue import ModelQueue
from mpserve.shm.server_id import claim_server_id, release_server_id
from mpserve.shm.sweep import sweep_server
from mpserve.worker.loading import Loaded
from mpserve.worker.loop import serve
from tests.fixtures.waiting import wait_until

from .starts import PLACES, worker_start

FRONTEND, WORKER = 1, 2
SHAPE = (-1, 2)
# Never closed: what a test leaves to the collector answers then, and ends the process without it.
WAKE_FD = os.eventfd(0, os.EFD_NONBLOCK)


class FunctionRuntime:
    name = "function"
    default_files = ()

    def __init__(self, execute):
        self.execute = self.execute_stream = execute
        self.unloaded = 0

    def load(self, context):
        raise NotImplementedError

    def unload(self):
        self.unloaded += 1


class StopFlag:
    def __init__(self):
        self.requested = False
        self.callback = lambda: None

    def on_request(self, callback):
        self.callback = callback
        if self.requested:
            callback()

    def request(self):
        self.requested = True
        self.callback()


class Server:
    """A frontend's side in this thread, an instance in another."""

    def __init__(self, server_id, wake_fd):
        self.board = Board.create(server_id, processes=8)
        self.epochs = {index: self.board.begin(index) for index in (FRONTEND, WORKER)}
        self.ring = CompletionRing.create(server_id, 0, 128)
        self.queue = ModelQueue.create(server_id, 5, rings=[self.ring], wake_fds=[wake_fd])
        self.server_id, self.wake_fd = server_id, wake_fd
        segments = ArenaSegments(server_id, FRONTEND, self.epochs[FRONTEND])
        self.dispatcher = _native.Dispatcher(
            board=self.board.native,
            process_index=FRONTEND,
            epoch=self.epochs[FRONTEND],
            frontend_index=0,
            arena=open_arena(segments, initial_bytes=1 << 20, max_bytes=8 << 20),
            ring=self.ring.native,
            wake_fd=wake_fd,
            attach=segments.attach,
            call_soon=lambda flush: flush(),
            call_later=lambda _delay, _call: None,
        )
        self.route = _native.Route(
            port=self.dispatcher.make_port(self.queue.native),
            model_name="m",
            model_version="1",
            generation=5,
            inputs=[("IN", int(Datatype.FP32), list(SHAPE), False)],
            outputs=[("OUT", int(Datatype.FP32), list(SHAPE), False)],
            max_batch_size=8,
            open_inputs=False,
            open_outputs=False,
        )
        self.answers = {}  # final ones
        self.streams = {}  # all
        self.stop = StopFlag()
        self.stages = []
        self.thread = None

    def start(self, execute, **config):
        signature = Signature(
            outputs=(TensorSpec(name="OUT", datatype=Datatype.FP32, shape=SHAPE),),
            max_batch_size=8,
        )
        given = ModelConfig(signature=signature, **config)
        runtime = FunctionRuntime(execute)
        start = worker_start(
            config=given,
            places=type(PLACES)(
                server_id=self.server_id,
                board_segment=self.board.name,
                process_index=WORKER,
                epoch=self.epochs[WORKER],
                ring_segments=(self.ring.name,),
                wake_fds=(self.wake_fd,),
                arena_initial_bytes=1 << 20,
                arena_max_bytes=8 << 20,
            ),
            queue_segment=self.queue.name,
        )
        loaded = Loaded(
            start=start,
            runtime=runtime,
            completed=CompletedConfig(config=given, config_json=start.config_json),
        )
        self.thread = threading.Thread(
            target=serve,
            args=(loaded, self.stop),
            kwargs={
                "on_ready": lambda: self.stages.append("ready"),
                "on_end": lambda: self.stages.append(f"unloaded {runtime.unloaded}"),
            },
        )
        self.thread.start()
        return runtime

    def submit(self, key, array, **fields):
        array = np.asarray(array, dtype=np.float32)
        return self.dispatcher.submit(
            self.route,
            [("IN", "FP32", list(array.shape), array)],
            callback=lambda answer: self.took(key, answer),
            **fields,
        )

    def took(self, key, answer):
        self.streams.setdefault(key, []).append(answer)
        if answer.final:
            self.answers[key] = answer

    def wait(self, *keys):
        def answered():
            self.dispatcher.on_wake()
            return set(keys) <= self.answers.keys()

        wait_until(answered, deadline=30.0, what=f"answers to {keys}")
        return [self.answers[key] for key in keys]

    def end(self):
        self.stop.request()
        if self.thread is not None:
            self.thread.join(30.0)
            assert not self.thread.is_alive()


@pytest.fixture
def server():
    identity = claim_server_id()  # or a server that starts meanwhile sweeps our segments
    made = Server(identity.server_id, WAKE_FD)
    yield made
    made.end()
    made.answers.clear()
    made.streams.clear()
    sweep_server(identity.server_id)
    release_server_id(identity)
