"""Answers in the order of their requests, and requests whose clients went."""

import os
import re
import select
import signal
import socket

import grpc
import numpy as np
import pytest

from tests.fixtures.closed_loop import Connection
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import within
from tests.fixtures.turnstile import LEAVES_WITH_CLIENT, Turnstile, answer, request, turns
from tests.fixtures.waiting import wait_until

TWO_INSTANCES = "instance_group { count: 2 kind: KIND_CPU }"
SOON_SECONDS = within(1)  # a deadline until which a request has reached the server
TOLD = "turnstile was told that the client is gone"


@pytest.fixture
def turnstile(serve, repository, tmp_path):
    """Return a function that serves a model with this configuration."""

    def made(config: str):
        model = Turnstile(repository, tmp_path, config=config)
        return model, serve(repository.path)

    return made


def is_answered(connection: Connection, *, within: float) -> bool:
    return bool(select.select([connection.socket], [], [], within)[0])


def executed(server) -> int:
    return server.log_text.count("turnstile turns")


# --- preserve_ordering --------------------------------------------------------------------------


def test_row_125_answers_keep_the_order_of_their_requests_across_instances(turnstile):
    model, server = turnstile(f"dynamic_batching {{ preserve_ordering: true }} {TWO_INSTANCES}")
    with model.held(server):
        second = model.send(server)
        wait_until(lambda: executed(server) == 1, what="the other instance to execute")
        assert not is_answered(second, within=0.2)
    assert answer(second)[0] == 200


def test_without_it_a_slow_instance_holds_nobody_back(turnstile):
    model, server = turnstile(f"dynamic_batching {{ }} {TWO_INSTANCES}")
    with model.held(server):
        assert answer(model.send(server))[0] == 200


def test_who_keeps_the_order_does_not_wait_for_a_dead_instance(turnstile):
    model, server = turnstile(f"dynamic_batching {{ preserve_ordering: true }} {TWO_INSTANCES}")
    model.gate.touch()
    first = model.send(server, hold=1)
    wait_until(lambda: "turnstile holds" in server.log_text, what="the model to hold")
    second = model.send(server)
    wait_until(lambda: executed(server) == 1, what="the other instance to execute")
    (busy,) = re.findall(r"turnstile holds in (\d+)", server.log_text)
    os.kill(int(busy), signal.SIGKILL)
    assert answer(first)[0] == 503
    assert answer(second)[0] == 200


# --- clients that go ----------------------------------------------------------------------------


def test_row_133_a_request_whose_client_goes_leaves_the_queue(turnstile):
    model, server = turnstile("")
    with model.held(server):
        leaving, slow_path, staying = model.queued(server, {}, {"timeout": 1}, {})
        leaving.close()
        wait_until(lambda: model.failures(server, "CANCELED") == 1, what="the cancel")
        slow_path.close()
        wait_until(lambda: model.failures(server, "CANCELED") == 2, what="the cancel")
        wait_until(lambda: model.waiting(server) == 1, what="one to be left")
    assert turns([staying]) == [1]
    wait_until(lambda: executed(server) == 2, what="the log")


@pytest.mark.parametrize("timeout_parameter", [0, 5], ids=["native", "read by Python"])
def test_row_133_a_grpc_call_that_is_cancelled_or_late_leaves_the_queue(
    turnstile, timeout_parameter
):
    model, server = turnstile("")
    with grpc.insecure_channel(server.grpc_address) as channel, model.held(server):
        calls = Calls(channel)
        message = calls.infer_request(
            "t",
            {"name": "HOLD", "datatype": "INT32", "shape": [1]},
            raw=(np.zeros(1, np.int32).tobytes(),),
        )
        if timeout_parameter:
            message.parameters["timeout"].int64_param = timeout_parameter
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda given: given.SerializeToString(),
        )
        future = infer.future(message, timeout=within(20))
        wait_until(lambda: model.waiting(server) == 1, what="the request to wait")
        future.cancel()
        wait_until(lambda: model.failures(server, "CANCELED") == 1, what="the cancel")
        with pytest.raises(grpc.RpcError) as caught:
            infer(message, timeout=SOON_SECONDS)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: model.failures(server, "CANCELED") == 2, what="the deadline to be seen")
        wait_until(lambda: model.waiting(server) == 0, what="nobody to wait")
    wait_until(lambda: executed(server) == 1, what="the log")


@pytest.mark.parametrize("parameters", [{}, {"timeout": 1}], ids=["native", "read by Python"])
def test_row_114_a_model_can_ask_whether_its_client_is_gone(turnstile, parameters):
    model, server = turnstile("")
    model.gate.touch()
    connection = model.send(server, hold=LEAVES_WITH_CLIENT, **parameters)
    wait_until(lambda: "turnstile holds" in server.log_text, what="the model to hold")
    assert TOLD not in server.log_text
    connection.close()
    wait_until(lambda: TOLD in server.log_text, what="the model to be told")
    assert server.infer("t", request()).status == 200


def test_an_answer_nobody_waits_for_is_no_failure_of_the_model(turnstile):
    model, server = turnstile("")
    model.gate.touch()
    connection = model.send(server, hold=LEAVES_WITH_CLIENT)
    wait_until(lambda: "turnstile holds" in server.log_text, what="the model to hold")
    connection.socket.shutdown(socket.SHUT_RDWR)
    connection.close()
    wait_until(lambda: executed(server) == 1, what="the model to end")
    assert server.infer("t", request()).status == 200
    assert model.failures(server, "BACKEND") == 0


WIRES = pytest.mark.parametrize("timeout_parameter", [0, 5], ids=["native", "read by Python"])


def hold_over_grpc(calls: Calls, hold: int, timeout_parameter: int):
    """Return the request that `Turnstile.send` sends over HTTP."""
    message = calls.infer_request(
        "t",
        {"name": "HOLD", "datatype": "INT32", "shape": [1]},
        raw=(np.full(1, hold, np.int32).tobytes(),),
    )
    if timeout_parameter:
        message.parameters["timeout"].int64_param = timeout_parameter
    return message


@WIRES
def test_row_114_a_model_can_ask_whether_the_deadline_of_its_call_passed(
    turnstile, timeout_parameter
):
    model, server = turnstile("")
    model.gate.touch()
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda given: given.SerializeToString(),
        )
        message = hold_over_grpc(calls, LEAVES_WITH_CLIENT, timeout_parameter)
        with pytest.raises(grpc.RpcError) as caught:
            infer(message, timeout=SOON_SECONDS)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: TOLD in server.log_text, what="the model to be told")


@WIRES
def test_row_133_requests_of_a_stream_leave_the_queue_at_its_deadline(turnstile, timeout_parameter):
    model, server = turnstile("")
    with grpc.insecure_channel(server.grpc_address) as channel, model.held(server):
        calls = Calls(channel)
        message = hold_over_grpc(calls, 0, timeout_parameter)
        with pytest.raises(grpc.RpcError) as caught:
            list(calls.stream(iter([message, message]), timeout=SOON_SECONDS))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: model.failures(server, "CANCELED") == 2, what="the deadline to be seen")
        wait_until(lambda: model.waiting(server) == 0, what="nobody to wait")
    wait_until(lambda: executed(server) == 1, what="the log")
