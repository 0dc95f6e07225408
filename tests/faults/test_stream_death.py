"""SIGKILL of either side of a stream of requests, and more streams than an instance may have."""

import contextlib
from pathlib import Path

import grpc
import psutil
import pytest

from tests.fixtures.grpc_calls import MLSERVER, Calls
from tests.fixtures.pace import within
from tests.fixtures.payload_streams import ask, opened, read, text, write_model
from tests.fixtures.waiting import wait_until

CODE = grpc.StatusCode
ROUNDS = 4
MEBIBYTE = 1 << 20
AT_REST = 12 * MEBIBYTE
MAX_OPEN = 256  # of one instance
BLOCK = bytes(MEBIBYTE)


@pytest.fixture
def server(start, tmp_path):
    write_model(tmp_path / "models", "stream")
    return start(tmp_path / "models", flags=["--log-format=json"])


@contextlib.contextmanager
def calling(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield Calls(channel, MLSERVER)


def shared_bytes(server) -> int:
    return sum(Path(path).stat().st_size for path in server.segments())


def numbers(calls):
    tensor = {"name": "x", "datatype": "UINT8", "shape": [len(BLOCK)]}
    return calls.infer_request("stream", tensor, raw=(BLOCK,))


def is_served(server) -> bool:
    with calling(server) as calls:
        return read(calls.stream(iter([ask(calls, "a"), ask(calls, "b")])))[1] is CODE.OK


def test_a_killed_worker_ends_its_streams_at_once_and_takes_no_block_along(server):
    with calling(server) as calls:
        for _ in range(ROUNDS):
            with contextlib.ExitStack() as stack:
                # One waits for its client, one has a request that its model does not take, and one
                # computes; what they were given lies in the frontend's arena.
                streams = [stack.enter_context(opened(calls)) for _ in range(3)]
                for requests, stream in streams:
                    requests.put(ask(calls, "pid"))
                    pid = int(text(next(stream)).split()[0])
                    requests.put(numbers(calls))
                    next(stream)
                streams[1][0].put(ask(calls, "hang"))
                streams[1][0].put(numbers(calls))
                streams[2][0].put(ask(calls, "block", "block"))
                psutil.Process(pid).kill()
                for _, stream in streams:
                    assert read(stream)[1][0] is CODE.UNAVAILABLE
            wait_until(lambda: is_served(server), deadline=within(5), what="a new worker")
    wait_until(
        lambda: shared_bytes(server) < AT_REST, deadline=within(5), what="all blocks to come back"
    )


def test_a_killed_frontend_ends_what_its_streams_models_do(server):
    worker = server.process_named("mps:stream")
    for number in range(1, ROUNDS + 1):
        with calling(server) as calls, contextlib.ExitStack() as stack:
            streams = [stack.enter_context(opened(calls)) for _ in range(2)]
            for requests, stream in streams:
                requests.put(numbers(calls))
                next(stream)
            streams[1][0].put(ask(calls, "hang"))
            streams[1][0].put(ask(calls, "never taken"))
            before = server.log_text.count("ended call")
            server.process_named("mps frontend 0").kill()
            for _, stream in streams:
                assert read(stream)[1][0] is CODE.UNAVAILABLE
            wait_until(
                lambda before=before: server.log_text.count("ended call") == before + 2,
                deadline=within(5),
                what="both iterators to end",
            )
            wait_until(
                lambda number=number: server.log_text.count("the call was cancelled") == 2 * number
            )
        wait_until(lambda: _is_served_quietly(server), deadline=within(5), what="a new frontend")
    assert server.process_named("mps:stream") == worker
    wait_until(
        lambda: shared_bytes(server) < AT_REST, deadline=within(5), what="all blocks to come back"
    )


def _is_served_quietly(server) -> bool:
    try:
        return is_served(server)
    except grpc.RpcError:
        return False


def test_more_streams_than_an_instance_may_have_are_refused_and_hold_nobody_up(server):
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(calling(server)) for _ in range(4)]
        streams = []
        for number in range(MAX_OPEN):
            calls = channels[number % len(channels)]
            requests, stream = stack.enter_context(opened(calls, timeout=within(60)))
            requests.put(ask(calls, "a"))
            streams.append((requests, stream))
        for _, stream in streams:
            next(stream)
        one_more, (code, details) = read(channels[0].stream(iter([ask(channels[0], "a")])))
        assert (one_more, code) == ([], CODE.UNAVAILABLE)
        assert "as many streams open as it may" in details
        assert text(channels[0]("ModelInfer", ask(channels[0], "a"))) == "predict"
        streams[0][0].put(ask(channels[0], "b"))
        assert text(next(streams[0][1])).split()[0] == "b"
        streams[0][0].put(None)
        assert read(streams[0][1])[1] is CODE.OK
        assert is_served(server)
