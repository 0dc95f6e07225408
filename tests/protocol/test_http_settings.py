"""Row 110: trace and log settings over HTTP and gRPC, and that the log obeys in every process."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import grpc
import pytest

from tests.fixtures.grpc_calls import Calls
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import tensors, write_triton

LOG = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "json",
}
LEVELS = {"verbose", "info", "warning", "error"}
TRACE = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
CHATTY = dedent(
    """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                word = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0].decode()
                pb_utils.Logger.log_info(f"info {word}")
                pb_utils.Logger.log_verbose(f"verbose {word}")
                pb_utils.Logger.log_warn(f"warning {word}")
                pb_utils.Logger.log_error(f"error {word}")
            return [pb_utils.InferenceResponse([]) for _ in requests]
    """
)


def write_models(folder: Path) -> Path:
    """Write two models that log at each level; return the repository."""
    for name in ("chatty", "later"):
        write_triton(
            folder / "models" / name,
            source=CHATTY,
            config=tensors("input", ("IN", "TYPE_STRING", [1]))
            + tensors("output", ("OUT", "TYPE_STRING", [1])),
        )
    return folder / "models"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own for each test, because they change it; with two frontends."""
    folder = tmp_path_factory.mktemp("settings")
    write_models(folder)
    with Server.serve(
        folder / "models",
        flags=["--model-control-mode=explicit", "--load-model=chatty", "--log-format=json",
               "--frontends=2"],
        log_path=folder / "log",
    ) as one:  # fmt: skip
        yield one


def say(server: Server, word: str, model: str = "chatty") -> None:
    answer = server.post(f"/v2/models/{model}/generate", {"IN": word})
    assert answer.status == 200, answer


def logged(server: Server, message: str) -> bool:
    return bool(server.events("model.logged", message=message))


def switch(server: Server, **members: object) -> dict:
    answer = server.post("/v2/logging", {f"log_{name}": value for name, value in members.items()})
    assert answer.status == 200, answer
    told: dict = answer.json()
    return told


def test_row_110_log_settings_round_trip_in_every_frontend(server):
    assert server.get("/v2/logging").json() == LOG
    assert switch(server, info=False, verbose_level=1) == {
        **LOG, "log_info": False, "log_verbose_level": 1,
    }  # fmt: skip
    for _ in range(8):  # connections of their own: both frontends are asked
        assert server.get("/v2/logging").json()["log_info"] is False


def test_the_log_of_workers_obeys_also_of_those_that_start_later(server):
    say(server, "one")
    wait_until(lambda: logged(server, "info one"), what="the first line")
    assert not logged(server, "verbose one")
    switch(server, info=False, verbose_level=1)
    assert server.load("later").status == 200
    for model in ("chatty", "later"):
        word = f"two-{model}"

        def obeys(model: str = model, word: str = word) -> bool:
            say(server, word, model)  # until the worker has heard: it is told, not asked
            return logged(server, f"verbose {word}")

        wait_until(obeys, what=f"verbose lines of {model}")
        wait_until(lambda word=word: logged(server, f"error {word}"), what="the error")
    say(server, "three")
    wait_until(lambda: logged(server, "verbose three"), what="the last line")
    assert not logged(server, "info three")


@pytest.mark.parametrize(
    "on",
    [
        pytest.param({"info", "error"}, id="no warnings"),
        pytest.param({"verbose", "warning"}, id="what a threshold can not say"),
    ],
)
def test_each_switch_of_the_log_is_for_itself_from_the_start_and_by_calls(tmp_path, on):
    flags = [f"--log-{name}={name in on}".lower() for name in ("info", "warning", "error")]
    with Server.serve(
        write_models(tmp_path),
        flags=[*flags, f"--log-verbose={int('verbose' in on)}", "--log-format=json",
               "--model-control-mode=explicit", "--load-model=chatty"],
        log_path=tmp_path / "log",
    ) as server:  # fmt: skip
        assert said_levels(server, "started", on) == on
        lines = [json.loads(line) for line in server.log_text.splitlines()]
        assert {line["level"].replace("debug", "verbose") for line in lines} == on
        told = server.get("/v2/logging").json()
        assert {name for name in LEVELS if told.get(f"log_{name}")} == on - {"verbose"}
        assert told["log_verbose_level"] == int("verbose" in on)

        # The other half, by a call, also for a worker that starts after it.
        off = LEVELS - on
        members = {name: name in off for name in ("info", "warning", "error")}
        switch(server, **members, verbose_level=int("verbose" in off))

        words = (
            "again" * number for number in itertools.count(1)
        )  # lines that repeat are left out

        def has_heard() -> bool:
            say(server, next(words))
            told = {line["message"].split()[0] for line in server.events("model.logged")}
            return bool(told & off)

        wait_until(has_heard, what="the worker to have heard")
        assert said_levels(server, "switched", off) == off
        assert server.load("later").status == 200
        assert said_levels(server, "loaded", off, "later") == off


def said_levels(server: Server, word: str, wanted: set[str], model: str = "chatty") -> set[str]:
    """Let the model say a word at each level; return the levels that are in the log.

    What workers write comes there by way of the supervisor, in its order: the word's lines are all
    there when those of the next word that are wanted are.
    """
    for one in (word, f"{word} twice"):
        say(server, one, model)
    for level in wanted:
        wait_until(lambda level=level: logged(server, f"{level} {word} twice"), what=level)
    return {level for level in LEVELS if logged(server, f"{level} {word}")}


def test_the_log_of_the_supervisor_obeys(server):
    switch(server, info=False)
    assert server.load("later").status == 200
    assert server.unload("later").status == 200
    assert not server.events("model.ready", model="later")
    assert not [line for line in server.log_text.splitlines() if '"later"' in line]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("logging", {"log_file": "x"}, 501,
         "log file location can not be updated through network protocol"),
        ("logging", {"log_format": "x"}, 503, "invalid argument for --log_format, got: x"),
        ("logging", {"log_info": 1}, 500, "attempt to access JSON non-boolean as boolean"),
        ("trace/setting", {"trace_file": "x"}, 501,
         "trace file location can not be updated through network protocol"),
        ("trace/setting", {"trace_rate": "x"}, 400, "Unable to parse 'trace_rate', got: x"),
        ("trace/setting", {"trace_level": ["TIMESTAMPS"]}, 400,
         "Attempting to set invalid trace setting :trace file name is not given"),
        ("models/nope/trace/setting", {}, 400, "Request for unknown model : nope"),
    ],
)  # fmt: skip
def test_row_110_what_can_not_be_set_is_refused(server, path, body, status, text):
    answer = server.post(f"/v2/{path}", body)
    assert (answer.status, answer.json()) == (status, {"error": text})
    assert answer.headers["content-type"] == "application/json"
    assert server.get("/v2/trace/setting").json() == TRACE
    assert server.get("/v2/logging").json() == LOG


def test_row_110_trace_settings_round_trip_for_the_server_and_for_a_model(server):
    path, of_model = "/v2/trace/setting", "/v2/models/chatty/trace/setting"
    assert server.get(path).json() == server.get(of_model).json() == TRACE
    assert server.post(path, {"trace_rate": "5", "trace_level": ["OFF"]}).json() == {
        **TRACE, "trace_rate": "5",
    }  # fmt: skip
    assert server.get(of_model).json()["trace_rate"] == "5"
    assert server.post(of_model, {"trace_rate": "7", "trace_count": "3"}).json() == {
        **TRACE, "trace_rate": "7", "trace_count": "3",
    }  # fmt: skip
    assert server.get(path).json()["trace_rate"] == "5"
    assert server.post(of_model, {"trace_rate": None}).json()["trace_rate"] == "5"
    assert server.post(path, {"trace_rate": None}).json() == TRACE


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/v2/logging", 405), ("DELETE", "/v2/trace/setting", 405),
     ("GET", "/v2/models/chatty/versions/1/trace/setting", 404)],
)  # fmt: skip
def test_other_methods_and_paths_are_refused(server, method, path, status):
    answer = server.request(method, path)
    assert answer.status == status
    assert status != 405 or answer.headers["allow"] == "GET, POST"


@pytest.fixture
def calls(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield Calls(channel)


def refused(calls, method, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        calls(method, **fields)
    return caught.value.code(), caught.value.details()


def test_row_110_log_settings_over_grpc_are_those_of_http(server, calls):
    assert _values(calls("LogSettings")) == LOG
    changed = calls(
        "LogSettings",
        settings={"log_info": {"bool_param": False}, "log_verbose_level": {"uint32_param": 2}},
    )
    assert _values(changed) == {**LOG, "log_info": False, "log_verbose_level": 2}
    assert server.get("/v2/logging").json() == {**LOG, "log_info": False, "log_verbose_level": 2}


def test_row_110_trace_settings_over_grpc_are_those_of_http(server, calls):
    told = {name: value if isinstance(value, list) else [value] for name, value in TRACE.items()}
    assert _words(calls("TraceSetting")) == told
    changed = calls("TraceSetting", model_name="chatty", settings={"trace_rate": {"value": ["9"]}})
    assert _words(changed) == {**told, "trace_rate": ["9"]}
    assert server.get("/v2/models/chatty/trace/setting").json()["trace_rate"] == "9"
    assert _words(calls("TraceSetting")) == told
    cleared = calls("TraceSetting", model_name="chatty", settings={"trace_rate": {}})
    assert _words(cleared) == told


def test_row_110_what_can_not_be_set_over_grpc_is_refused(calls):
    code = grpc.StatusCode
    fixed = "file location can not be updated through network protocol"
    for method, settings, expected in (
        ("LogSettings", {"log_file": {"string_param": "x"}},
         (code.UNIMPLEMENTED, f"log {fixed}")),
        ("LogSettings", {"log_format": {"string_param": "x"}},
         (code.INVALID_ARGUMENT, "invalid argument for log_format, got: x")),
        ("LogSettings", {"log_info": {"string_param": "x"}},
         (code.INVALID_ARGUMENT, "expect boolean for 'log_info'")),
        ("TraceSetting", {"trace_file": {"value": ["x"]}},
         (code.UNIMPLEMENTED, f"trace {fixed}")),
        ("TraceSetting", {"trace_rate": {"value": ["x"]}},
         (code.INVALID_ARGUMENT, "Unable to parse 'trace_rate', got: x")),
        ("TraceSetting", {"trace_rate": {"value": ["1", "2"]}},
         (code.INVALID_ARGUMENT, "expect only 1 value for 'trace_rate'")),
        ("TraceSetting", {"trace_level": {"value": ["OFF", "TENSORS"]}},
         (code.INVALID_ARGUMENT, "Expect only one trace level 'OFF' is specified")),
    ):  # fmt: skip
        assert refused(calls, method, settings=settings) == expected
    assert refused(calls, "TraceSetting", model_name="nope") == (
        code.INVALID_ARGUMENT,
        "Request for unknown model : nope",
    )


def _values(answer):
    return {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in answer.settings.items()
    }


def _words(answer):
    return {name: list(value.value) for name, value in answer.settings.items()}
