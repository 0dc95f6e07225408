"""`predict_stream` of MLServer's models: one call for a whole stream of gRPC, or for one of HTTP.

MLServer 1.7.1 answers so; where it does not, `tests/differential` tells why.
"""

import contextlib
import json
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, MLSERVER, Calls
from tests.fixtures.pace import within
from tests.fixtures.payload_streams import UNARY, ask, opened, read, text, write_model
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until, wait_until_still

pytestmark = BOTH_TRANSPORTS

CODE = grpc.StatusCode

MORE_THAN_FLOW_CONTROL = 2000  # requests: 200 MB


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, grpc_transport, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    root = Path(folder, "models")
    write_model(root, "stream")
    write_model(root, "pair", parallel_workers=2)
    write_model(root, "unary", UNARY)
    with Server.start(root, log_path=folder / "log") as one:
        one.models = root
        yield one


@pytest.fixture
def calls(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield Calls(channel, MLSERVER)


def words_of(texts):
    return [one.split()[0] for one in texts]


def test_all_requests_of_a_stream_are_one_call(calls):
    requests = [ask(calls, "a", id="1"), ask(calls, "b", "c", id="2"), ask(calls, "d", id="3")]
    texts, end = read(calls.stream(iter(requests)))
    assert end is CODE.OK
    (call,) = {one.split()[1] for one in texts[:-1]}
    assert texts == [f"a {call} 1 1", f"b {call} 2 1", f"c {call} 2 1", f"d {call} 3 1", "end of 3"]


def test_answers_have_the_id_of_the_first_request(calls):
    answers = list(calls.stream(iter([ask(calls, "a", id="1"), ask(calls, "b", id="2")])))
    assert [answer.id for answer in answers] == ["1", "1"]


def test_each_stream_is_a_call(calls):
    first, _ = read(calls.stream(iter([ask(calls, "pid")])))
    second, _ = read(calls.stream(iter([ask(calls, "pid")])))
    assert first[0].split()[0] == second[0].split()[0]
    assert first != second


def test_a_client_may_wait_for_each_answer_before_it_asks_on(calls):
    with opened(calls) as (requests, stream):
        for number in range(20):
            requests.put(ask(calls, f"w{number}", id="i"))
            word, _, count, _ = text(next(stream)).split()
            assert (word, count) == (f"w{number}", str(number + 1))


@pytest.mark.parametrize(
    ("word", "end"),
    [("raise", (CODE.INTERNAL, "ValueError: boom")), ("told", (CODE.NOT_FOUND, "told"))],
)
def test_an_error_in_the_middle_ends_the_stream_with_its_status(calls, word, end):
    requests = [ask(calls, "a"), ask(calls, word), ask(calls, "b")]
    texts, ended = read(calls.stream(iter(requests)))
    assert (words_of(texts), ended) == (["a"], end)


def test_a_model_may_end_the_stream_early(calls):
    with opened(calls) as (requests, stream):
        for word in ("a", "stop", "b"):
            requests.put(ask(calls, word))
        texts, end = read(stream)
    assert (words_of(texts), end) == (["a"], CODE.OK)


def test_the_first_request_says_which_model_it_is(calls):
    requests = [ask(calls, "a"), ask(calls, "b", model="nobody"), ask(calls, "c", model="unary")]
    texts, end = read(calls.stream(iter(requests)))
    assert (words_of(texts), end) == (["a", "b", "c", "end"], CODE.OK)


def test_a_stream_without_answers_ends_well(calls):
    assert read(calls.stream(iter([ask(calls, "quiet")]))) == ([], CODE.OK)
    assert read(calls.stream(iter([]))) == ([], CODE.OK)


def test_a_bad_request_in_the_middle_ends_the_stream(calls):
    bad = calls.infer_request("stream", {"name": "x", "datatype": "WRONG", "shape": [1]})
    texts, (code, _) = read(calls.stream(iter([ask(calls, "a"), bad, ask(calls, "b")])))
    assert (words_of(texts), code) == (["a"], CODE.INVALID_ARGUMENT)


def test_a_request_that_is_too_large_ends_the_stream_and_the_models_call(calls, server):
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "a"))
        call = text(next(stream)).split()[1]
        requests.put(ask(calls, "x" * (5 << 20)))
        assert read(stream)[1][0] is CODE.RESOURCE_EXHAUSTED
    wait_until(lambda: f"ended call {call} after 1" in server.log_text, what="the call's end")


def test_an_answer_that_is_too_large_ends_the_stream_and_the_models_call(calls, server):
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "a"))
        call = text(next(stream)).split()[1]
        requests.put(ask(calls, "large"))
        assert read(stream)[1][0] is CODE.RESOURCE_EXHAUSTED
    wait_until(lambda: f"ended call {call} after 2" in server.log_text, what="the call's end")


def test_raw_first_requests_have_raw_answers(calls):
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1]}
    raw = calls.infer_request("stream", tensor, raw=(b"\x01\0\0\0a",), id="r")
    answers = list(calls.stream(iter([raw, ask(calls, "b")])))
    assert [answer.raw_output_contents[0][4:5] for answer in answers] == [b"a", b"b"]


def test_a_client_that_goes_cancels_what_its_model_waits_for(server, calls):
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "a"))
        call = text(next(stream)).split()[1]
        requests.put(ask(calls, "hang"))
        wait_until(lambda: f"call {call} hangs" in server.log_text, what="the model to wait")
        before = server.log_text.count("the call was cancelled")
        stream.cancel()
        wait_until(
            lambda: server.log_text.count("the call was cancelled") > before,
            what="the model to be cancelled",
        )


def test_a_client_that_goes_cancels_a_model_that_waits_for_it(server, calls):
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "a"))
        call = text(next(stream)).split()[1]
        stream.cancel()
        wait_until(lambda: f"ended call {call} after 1" in server.log_text, what="the call's end")


def test_unary_inference_of_a_model_that_streams_is_predict(calls, server):
    answer = calls("ModelInfer", ask(calls, "a", id="1"))
    assert text(answer) == "predict"
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    told = server.post("/v2/models/stream/infer", {"inputs": [tensor]}).json()
    assert told["outputs"][0]["data"] == ["predict"]


def test_a_model_that_does_not_stream_answers_each_request(calls):
    requests = [ask(calls, "a", model="unary", id=str(number)) for number in range(3)]
    assert read(calls.stream(iter(requests))) == (["one 0", "one 1", "one 2"], CODE.OK)


def test_a_stream_of_http_is_one_request(server):
    tensor = {"name": "x", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    body = {"id": "i", "inputs": [tensor]}
    answer = server.post("/v2/models/stream/infer_stream", body)
    events = [
        json.loads(one.removeprefix("data: ")) for one in answer.body.decode().split("\n\n") if one
    ]
    told = [event["outputs"][0]["data"][0].split() for event in events]
    assert [(word, *more) for word, _, *more in told] == [("a", "1", "i"), ("b", "1", "i")]


def test_streams_of_several_instances_keep_to_their_own(calls):
    def pair(word):
        return ask(calls, word, model="pair")

    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(opened(calls)) for _ in range(8)]
        homes = []
        for requests, stream in streams:
            requests.put(pair("pid"))
            homes.append(text(next(stream)))
        for _ in range(2):
            for requests, _ in streams:
                requests.put(pair("block"))
                requests.put(pair("pid"))
            assert [text(next(stream)) for _, stream in streams] == homes
    pids = Counter(words_of(homes))
    assert sorted(pids.values()) == [4, 4], "who holds fewer streams gets the next"


def test_requests_wait_while_their_model_does(calls):
    """Between client and server flow control may let some megabytes go, more on a slow machine."""
    sent = []

    def requests():
        yield ask(calls, "hang")
        for number in range(MORE_THAN_FLOW_CONTROL):
            sent.append(number)
            tensor = {"name": "x", "datatype": "UINT8", "shape": [100_000]}
            yield calls.infer_request("stream", tensor, raw=(bytes(100_000),))

    stream = calls.stream(requests())
    wait_until(lambda: len(sent) > 3, what="some requests to be sent")
    wait_until_still(lambda: len(sent), seconds=1.0, deadline=within(60), what="the client")
    assert len(sent) < MORE_THAN_FLOW_CONTROL
    stream.cancel()


def test_a_stream_goes_on_while_its_model_is_loaded_anew(server, calls):
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "pid"))
        home = text(next(stream))
        source = server.models / "stream" / "model.py"
        source.write_text(source.read_text() + "\n")
        assert server.post("/v2/repository/models/stream/load").status == 200
        requests.put(ask(calls, "pid"))
        assert text(next(stream)) == home
        other, _ = read(calls.stream(iter([ask(calls, "pid")])))
        assert other[0].split()[0] != home.split()[0]


def test_what_a_model_keeps_of_further_requests_does_not_change(calls):
    """Each is a view of shared memory: as long as it lives, nothing else is written there."""
    size, rounds = 10_000, 24

    def numbers(value):
        tensor = {"name": "x", "datatype": "FP32", "shape": [size]}
        return calls.infer_request("stream", tensor, raw=(np.full(size, value, "<f4").tobytes(),))

    with opened(calls) as (requests, stream):
        for number in range(rounds):
            requests.put(numbers(number))
            words = next(stream).raw_output_contents[0][4:].decode().split()
            assert words == [f"{float(one)}-{float(one)}" for one in range(number + 1)]
        # Memory of what was let go is used again.
        requests.put(ask(calls, "forget", "a"))
        next(stream)
        requests.put(numbers(rounds))
        assert (
            next(stream).raw_output_contents[0][4:].decode() == f"{float(rounds)}-{float(rounds)}"
        )


def test_a_deadline_cancels_the_model(server, calls):
    before = server.log_text.count("the call was cancelled")
    with opened(calls, timeout=within(1)) as (requests, stream):
        requests.put(ask(calls, "hang"))
        _, (code, _) = read(stream)
    assert code is CODE.DEADLINE_EXCEEDED
    wait_until(
        lambda: server.log_text.count("the call was cancelled") > before,
        what="the model to be cancelled",
    )


def test_a_connection_that_is_lost_ends_what_the_models_of_its_streams_do(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)
        with opened(calls) as (requests, stream):
            requests.put(ask(calls, "a"))
            call = text(next(stream)).split()[1]
            channel.close()
    wait_until(lambda: f"ended call {call} after 1" in server.log_text, what="the call's end")


def test_a_refused_request_comes_behind_the_answers_of_those_before_it(calls):
    """Also when the client has not read any of them yet."""
    bad = calls.infer_request("stream", {"name": "x", "datatype": "WRONG", "shape": [1]})
    words = ["x" * 20_000] * 8
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, *words))
        requests.put(bad)
        texts, (code, details) = read(stream)
    assert [len(one.split()[0]) for one in texts] == [20_000] * 8
    assert code is CODE.INVALID_ARGUMENT
    assert "WRONG" in details


def test_a_client_that_does_not_read_holds_its_model_back(calls, server):
    """What waits for it is bounded, and nobody else waits for it."""
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "pid"))
        worker = psutil.Process(int(text(next(stream)).split()[0]))
        requests.put(ask(calls, "pour"))
        others, end = read(calls.stream(iter([ask(calls, "a"), ask(calls, "b")])))
        assert (words_of(others), end) == (["a", "b"], CODE.OK)
        held = sum(Path(path).stat().st_size for path in server.segments())
        assert held < 64 << 20
        assert worker.memory_info().rss < 512 << 20


def test_an_unread_request_keeps_nobody_awake(calls):
    """The model has stopped to wait for the request that lies ready for it."""
    with opened(calls) as (requests, stream):
        requests.put(ask(calls, "pid"))
        worker = psutil.Process(int(text(next(stream)).split()[0]))
        requests.put(ask(calls, "glance"))
        assert text(next(stream)) == "glanced"
        requests.put(ask(calls, "a"))
        assert text(calls("ModelInfer", ask(calls, "a"))) == "predict"
        used = sum(worker.cpu_times()[:2])
        assert text(calls("ModelInfer", ask(calls, "a"))) == "predict"
        with pytest.raises(AssertionError):
            wait_until(lambda: sum(worker.cpu_times()[:2]) > used + 0.5, deadline=1, what="CPU use")


def test_a_stream_is_one_request_to_the_metrics(calls, server):
    name = 'model_infer_request_success_total{model="stream"'

    def counted():
        rows = [row for row in server.metrics().splitlines() if row.startswith(name)]
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows)

    before = counted()
    assert read(calls.stream(iter([ask(calls, "a")] * 5)))[1] is CODE.OK
    wait_until(lambda: counted() == before + 1, what="the stream to be counted")
