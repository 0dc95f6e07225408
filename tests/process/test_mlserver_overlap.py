"""Models of MLServer that wait: requests under way at once, streams, and their ends."""

import http.client
import json
import threading

import grpc
import pytest

from mpserve.shm.sweep import sweep_dead_servers
from tests.fixtures.grpc_calls import MLSERVER, Calls
from tests.fixtures.server import ANSWER_SECONDS
from tests.fixtures.waiting import wait_until

MODEL = """
import asyncio
from mlserver import MLModel, types
from mlserver.codecs import StringCodec
from mlserver.errors import MLServerError


class Model(MLModel):
    async def load(self):
        self.meeting = asyncio.Barrier(4)
        self.ticks = 0
        self.left = []
        self.ticker = asyncio.create_task(self.tick())
        return True

    async def tick(self):
        while True:
            await asyncio.sleep(0.01)
            self.ticks += 1

    async def predict(self, payload):
        (word,) = StringCodec.decode_input(payload.inputs[0])
        if word == "meet":
            await self.meeting.wait()
        if word == "forever":
            await asyncio.Event().wait()
        if word == "die":
            import os
            await asyncio.sleep(0)
            os._exit(9)
        if word == "gather":
            word = "".join(await asyncio.gather(*(asyncio.sleep(0, c) for c in word)))
        if word == "fail":
            await asyncio.sleep(0.001)
            raise ValueError("after a while")
        return self.answer(word, self.ticks, *self.left)

    async def predict_stream(self, payloads):
        async for payload in payloads:
            (words,) = StringCodec.decode_input(payload.inputs[0])
            try:
                for word in words.split():
                    if word == "fail":
                        raise ValueError("in the stream")
                    if word == "teapot":
                        raise MLServerError("short and stout", 418)
                    while word == "endless":
                        await asyncio.sleep(0.001)
                        yield self.answer("x" * 100_000)
                    await asyncio.sleep(0)
                    yield self.answer(word)
            finally:
                self.left.append(words)

    def answer(self, *words):
        output = StringCodec.encode_output("out", [str(word) for word in words])
        return types.InferenceResponse(model_name=self.name, outputs=[output])
"""


@pytest.fixture
def server(start, tmp_path):
    folder = tmp_path / "models" / "waiting"
    folder.mkdir(parents=True)
    (folder / "waiting.py").write_text(MODEL)
    settings = {"name": "waiting", "implementation": "waiting.Model"}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    return start(tmp_path / "models")


def question(text):
    return {
        "id": "7",
        "inputs": [{"name": "word", "datatype": "BYTES", "shape": [1], "data": [text]}],
    }


def said(answer):
    assert answer.status == 200, answer
    return answer.json()["outputs"][0]["data"]


def events(body):
    return [json.loads(line.removeprefix("data: ")) for line in body.decode().split("\n\n") if line]


def words(found):
    return [event["outputs"][0]["data"][0] for event in found]


def stream(server, text, path="infer_stream"):
    return server.post(f"/v2/models/waiting/{path}", question(text))


def test_requests_that_wait_for_each_other_are_under_way_at_once(server):
    answers = []

    def ask():
        answers.append(server.infer("waiting", question("meet")))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ANSWER_SECONDS)
    assert [said(answer)[0] for answer in answers] == ["meet"] * 4


def test_a_request_that_waits_for_ever_holds_up_no_other(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/v2/models/waiting/infer", json.dumps(question("forever")))
    for word in ("gather", "b"):
        assert said(server.infer("waiting", question(word)))[0] == word
    connection.close()
    server.expected_exit_code = None  # the model never lets go of that one request
    server.kill_everything()
    sweep_dead_servers()  # as the next start does


def test_tasks_of_the_model_go_on_while_nobody_asks(server):
    def ticks():
        return int(said(server.infer("waiting", question("a")))[1])

    first = ticks()
    wait_until(lambda: ticks() > first + 20, what="the ticker to go on")


def test_what_is_raised_after_a_wait_is_that_requests_failure(server):
    answer = server.infer("waiting", question("fail"))
    assert answer.status == 500
    assert "after a while" in answer.json()["error"]
    assert said(server.infer("waiting", question("a")))[0] == "a"


def test_requests_under_way_fail_when_the_worker_dies(server):
    assert server.infer("waiting", question("die")).status >= 500
    wait_until(
        lambda: server.infer("waiting", question("a")).status == 200, what="the worker to be back"
    )


@pytest.mark.parametrize("path", ["infer_stream", "generate_stream"])
def test_a_stream_answers_with_what_the_model_yields(server, path):
    answer = stream(server, "one two three", path)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = events(answer.body)
    assert words(found) == ["one", "two", "three"]
    assert {event["id"] for event in found} == {"7"}
    assert found[0]["parameters"]["headers"]["Ce-Requestid"] == "7"


def test_a_stream_that_yields_nothing_is_empty(server):
    answer = stream(server, "")
    assert (answer.status, answer.body) == (200, b"")


def test_an_error_before_the_first_answer_is_the_status(server):
    failed, refused = stream(server, "fail"), stream(server, "teapot")
    assert (failed.status, refused.status) == (500, 400)
    assert refused.json() == {"error": "short and stout"}


def test_an_error_later_is_the_last_event(server):
    *before, last = events(stream(server, "one fail two").body)
    assert words(before) == ["one"]
    assert "in the stream" in last["error"]


def test_the_model_hears_that_the_client_of_a_stream_has_gone(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/v2/models/waiting/infer_stream", json.dumps(question("endless")))
    response = connection.getresponse()
    assert response.read(100)
    # The client reads no further: what it is owed fills the worker's memory, and nobody waits.
    assert said(server.infer("waiting", question("a")))[0] == "a"
    response.close()
    connection.close()

    def has_left():
        return "endless" in said(server.infer("waiting", question("a")))

    wait_until(has_left, what="the model's stream to end")


def test_a_stream_over_grpc_answers_with_what_the_model_yields(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)

        def request(text):
            tensor = {"name": "word", "datatype": "BYTES", "shape": [1]}
            tensor["contents"] = {"bytes_contents": [text.encode()]}
            return calls.infer_request("waiting", tensor, id=text)

        asked = [request("one two"), request("three")]
        found = [
            (answer.id, answer.outputs[0].contents.bytes_contents[0])
            for answer in calls.stream(iter(asked))
        ]
    assert found == [("one two", b"one"), ("one two", b"two"), ("one two", b"three")]


def test_an_unload_lets_requests_under_way_end(server):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.infer("waiting", question("meet"))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(
        lambda: "waiting" in server.metrics() and said(server.infer("waiting", question("a"))),
        what="the others to be under way",
    )
    last = threading.Thread(
        target=lambda: answers.append(server.infer("waiting", question("meet")))
    )
    last.start()
    last.join(ANSWER_SECONDS)
    assert server.unload("waiting").status == 200
    for thread in threads:
        thread.join(ANSWER_SECONDS)
    assert [said(answer)[0] for answer in answers] == ["meet"] * 4
    wait_until(lambda: not server.processes_named("mps:waiting"), what="the worker to end")
