"""Rubbish over real sockets: always the specification's status, with JSON that names the fault.

The same body is sent twice: as it is, so that the native core may answer it, and marked with the
`identity` coding, which the core leaves to Python. Both must say the same.
"""

import http.client
import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.fixtures.pace import within
from tests.fixtures.server import Server
from tests.property.v2_requests import BODIES, GOOD_TEXT

EXAMPLES = 600
SECONDS = within(20)
# 500 in MLServer is what the model itself raises: this one wants an input.
STATUSES = {"triton": {200, 400, 404, 500}, "mlserver": {200, 400, 422, 500}}
MADE_UP_ID = re.compile(rb'"id":"[0-9a-f-]{36}"')
CHECKS = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", params=["triton", "mlserver"])
def spoken(request: pytest.FixtureRequest) -> tuple[Server, str, str]:
    """Return the server, its dialect, and a model that takes what the good request sends."""
    server: Server = request.getfixturevalue(request.param)
    return server, request.param, {"triton": "m", "mlserver": "echo"}[request.param]


@pytest.fixture(scope="module")
def connection(spoken) -> Iterator[http.client.HTTPConnection]:
    """One connection for all: an answer that closes it, or is out of step, fails the next."""
    one = http.client.HTTPConnection("127.0.0.1", spoken[0].port, timeout=SECONDS)
    yield one
    one.close()


def post(
    connection: http.client.HTTPConnection, model: str, body: bytes, **headers: str
) -> tuple[int, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", f"/v2/models/{model}/infer", body, names)
    answer = connection.getresponse()
    return answer.status, MADE_UP_ID.sub(b'"id":""', answer.read())


def is_told(status: int, body: bytes, dialect: str) -> bool:
    if status not in STATUSES[dialect]:
        return False
    if status == 200:
        return bool(body)
    members = json.loads(body)
    return bool(members.get("error") or members.get("detail")) and b"Traceback" not in body


@CHECKS
@given(body=BODIES)
@example(body=GOOD_TEXT)
@example(body=b"")
@example(body=b"[" * 50_000)
def test_both_ways_to_an_answer_say_the_same(spoken, connection, body):
    _, dialect, model = spoken
    native = post(connection, model, body)
    python = post(connection, model, body, Content_Encoding="identity")
    assert native == python
    assert is_told(*native, dialect)


@CHECKS
@given(body=BODIES)
def test_a_wrong_length_of_the_json_part_is_told(spoken, connection, body):
    _, dialect, model = spoken
    length = str(len(body) // 2)
    native = post(connection, model, body, Inference_Header_Content_Length=length)
    python = post(
        connection,
        model,
        body,
        Inference_Header_Content_Length=length,
        Content_Encoding="identity",
    )
    assert native == python
    assert is_told(*native, dialect)


def test_the_server_answers_as_before_after_all_that(spoken, connection):
    assert post(connection, spoken[2], GOOD_TEXT)[0] == 200
