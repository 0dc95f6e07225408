"""Queue policies and priorities: limits, time-outs and levels of a model's queue."""

import time
from contextlib import closing

import grpc
import numpy as np
import pytest

from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import within
from tests.fixtures.turnstile import Turnstile, answer, request, turns
from tests.fixtures.waiting import wait_until

FULL = "[request id: {}] Exceeds maximum queue size"
EXPIRED = "Request timeout expired"
LONG_US = 60_000_000
TOO_LONG_US = 3_000_000  # what an instance is free for is taken sooner, also on a slow machine
NEARLY_AT_ONCE_US = 1000


def policy(**members: object) -> str:
    told = " ".join(f"{name}: {value}" for name, value in members.items())
    return f"default_queue_policy {{ {told} }}"


@pytest.fixture
def turnstile(serve, repository, tmp_path):
    """Return a function that serves a model with this `dynamic_batching`."""

    def made(batching: str, config: str = "", *flags: str):
        model = Turnstile(
            repository, tmp_path, config=f"dynamic_batching {{ {batching} }}\n{config}"
        )
        return model, serve(repository.path, flags=flags)

    return made


@pytest.fixture
def calls():
    """Return a function that opens gRPC calls to a server."""
    channels = []

    def opened(server) -> Calls:
        channels.append(grpc.insecure_channel(server.grpc_address))
        return Calls(channels[-1])

    yield opened
    for channel in channels:
        channel.close()


def grpc_request(calls: Calls, **parameters: object):
    tensor = {"name": "HOLD", "datatype": "INT32", "shape": [1]}
    message = calls.infer_request("t", tensor, raw=(np.zeros(1, np.int32).tobytes(),))
    for name, value in parameters.items():
        setattr(
            message.parameters[name], "uint64_param" if value >= 1 << 63 else "int64_param", value
        )
    return message


# --- limits -------------------------------------------------------------------------------------


def test_row_121_what_is_past_the_limit_of_the_queue_is_refused_at_once(turnstile, calls):
    model, server = turnstile(policy(max_queue_size=2))
    with model.held(server):
        waiting = model.queued(server, {}, {})
        refused = server.infer("t", request())
        assert (refused.status, refused.json()) == (503, {"error": FULL.format("<id_unknown>")})
        assert refused.headers["retry-after"] == "1"
        named = server.infer("t", request(request_id="seven", timeout=1))  # read by Python
        assert (named.status, named.json()) == (503, {"error": FULL.format("seven")})
        assert named.headers["retry-after"] == "1"
        with pytest.raises(grpc.RpcError) as caught:
            calls(server)("ModelInfer", grpc_request(calls(server)))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == FULL.format("<id_unknown>")
        wait_until(lambda: model.failures(server, "REJECTED") == 3, what="the refusals")
        assert model.waiting(server) == 2
    assert turns(waiting) == [1, 2]


def test_a_level_has_a_limit_of_its_own(turnstile):
    model, server = turnstile(
        "priority_levels: 2 default_priority_level: 2 "
        "priority_queue_policy { key: 1 value { max_queue_size: 1 } }"
    )
    with model.held(server):
        waiting = model.queued(server, {"priority": 1}, {"priority": 2}, {"priority": 2})
        refused = server.infer("t", request(priority=1))
        assert (refused.status, refused.json()["error"]) == (503, FULL.format("<id_unknown>"))
        waiting += model.queued(server, {"priority": 2})
    assert turns(waiting) == [1, 2, 3, 4]


def test_a_limit_holds_over_all_frontends_and_beyond_the_default_size(turnstile):
    model, server = turnstile(
        policy(max_queue_size=40), "", "--http-thread-count=8", "--queue-slots=4"
    )
    with model.held(server):
        waiting = [model.send(server) for _ in range(50)]
        wait_until(lambda: model.waiting(server) == 40, what="the queue to be full")
        wait_until(lambda: model.failures(server, "REJECTED") == 10, what="the others' refusal")
    statuses = [answer(connection)[0] for connection in waiting]
    assert (statuses.count(200), statuses.count(503)) == (40, 10)


# --- time-outs ----------------------------------------------------------------------------------


def test_row_122_a_request_that_waited_too_long_is_refused_though_no_instance_is_free(turnstile):
    model, server = turnstile(policy(default_timeout_microseconds=TOO_LONG_US))
    with model.held(server):  # also the one that holds waits for the instance, if not so long
        begun = time.monotonic()
        refused = server.infer("t", request())
        assert (refused.status, refused.json()) == (503, {"error": EXPIRED})
        assert time.monotonic() - begun >= TOO_LONG_US / 1e6
        assert "retry-after" not in refused.headers
        wait_until(lambda: model.failures(server, "REJECTED") == 1, what="the refusal")
        wait_until(lambda: model.waiting(server) == 0, what="nobody to wait")
    assert server.infer("t", request()).status == 200


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_row_122_a_request_may_shorten_its_time(turnstile, calls, wire):
    model, server = turnstile(
        policy(default_timeout_microseconds=LONG_US, allow_timeout_override="true")
    )
    with model.held(server):
        waiting = model.queued(server, {}, {"timeout": LONG_US * 2})
        if wire == "http":
            refused = server.infer("t", request(timeout=NEARLY_AT_ONCE_US))
            assert (refused.status, refused.json()) == (503, {"error": EXPIRED})
        else:
            with pytest.raises(grpc.RpcError) as caught:
                calls(server)("ModelInfer", grpc_request(calls(server), timeout=NEARLY_AT_ONCE_US))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == EXPIRED
    assert turns(waiting) == [1, 2]


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"allow_timeout_override": "true"}, id="without a default"),
        pytest.param({"default_timeout_microseconds": LONG_US}, id="without leave"),
    ],
)
def test_row_122_a_requests_own_time_has_no_effect(turnstile, members):
    model, server = turnstile(policy(**members))
    with model.held(server):
        waiting = model.queued(server, {"timeout": NEARLY_AT_ONCE_US}, {})
        time.sleep(20 * NEARLY_AT_ONCE_US / 1e6)  # it would be over by now
        assert model.waiting(server) == 2
    assert turns(waiting) == [1, 2]


def test_row_123_a_late_request_is_served_last_when_late_ones_are_delayed(turnstile):
    model, server = turnstile(
        policy(
            timeout_action="DELAY",
            default_timeout_microseconds=LONG_US,
            allow_timeout_override="true",
        )
    )
    with model.held(server):
        waiting = model.queued(server, {"timeout": NEARLY_AT_ONCE_US}, {}, {"timeout": 1}, {})
        time.sleep(20 * NEARLY_AT_ONCE_US / 1e6)  # two of them are late
    assert turns(waiting) == [3, 1, 4, 2]


# --- levels -------------------------------------------------------------------------------------


def test_row_124_the_lowest_level_goes_first_and_what_is_no_level_is_the_default_one(turnstile):
    model, server = turnstile("priority_levels: 3 default_priority_level: 2")
    with model.held(server):
        waiting = model.queued(
            server,
            {"priority": 3}, {"priority": 2}, {"priority": 1}, {}, {"priority": 0}, {"priority": 4},
            {"priority": 2**64 - 1}, {"priority": 1},
        )  # fmt: skip
    assert turns(waiting) == [8, 3, 1, 4, 5, 6, 7, 2]


def test_row_124_there_may_be_as_many_levels_as_a_number_can_tell(turnstile, calls):
    model, server = turnstile(f"priority_levels: {2**64 - 1} default_priority_level: {2**64 - 1}")
    with model.held(server):
        waiting = model.queued(server, {}, {"priority": 2**64 - 2}, {"priority": 2**40})
        channel = calls(server).channel
        future = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=calls(server)
            .messages.message("inference.ModelInferResponse")
            .FromString,
        ).future(grpc_request(calls(server), priority=2**64 - 3), timeout=within(20))
        wait_until(lambda: model.waiting(server) == 4, what="the request to wait")
    turn = np.frombuffer(future.result().raw_output_contents[0], np.int32)[0]
    assert turns(waiting) == [3, 2, 1]
    assert turn == 3  # after the one that held, and level 2**40


def test_without_levels_a_priority_has_no_effect(turnstile):
    model, server = turnstile("")
    with model.held(server):
        waiting = model.queued(server, {"priority": 9}, {"priority": 1}, {})
    assert turns(waiting) == [1, 2, 3]


# --- instances ----------------------------------------------------------------------------------


def test_requests_do_not_wait_for_an_instance_that_is_usually_quick(serve, repository, tmp_path):
    model = Turnstile(repository, tmp_path, config="instance_group [ { count: 2 } ]")
    server = serve(repository.path)
    with closing(Connection(server)) as quick:
        told = [quick.exchange(infer_bytes("t", request()))[0] for _ in range(100)]
        with model.held(server):

            def are_quick() -> bool:
                begun = time.monotonic()
                told.extend(quick.exchange(infer_bytes("t", request()))[0] for _ in range(20))
                return time.monotonic() - begun < 1

            # An instance that nobody woke would look by itself after 0.1 s: 20 took 2 s, each time.
            wait_until(are_quick, what="twenty requests that do not wait")
    assert set(told) == {200}
