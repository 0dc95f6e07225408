"""Output of load generators, as they really print it, into results."""

import numpy as np
import pytest

from bench.errors import LoadFailed, MissingTool
from bench.loading.closed_loop import from_times, lua_script, parse_h2load, parse_wrk, require
from bench.loading.v2_client import HttpRequest

WRK = """\
Running 2s test @ http://127.0.0.1:18000/v2/models/simple/infer
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.86ms  474.24us   4.56ms   54.08%
    Req/Sec     8.65k     1.84k   12.14k    73.33%
  16392 requests in 2.00s, 6.45MB read
Requests/sec:   8190.60
bench-result {"requests":16392,"duration_us":2001000,"bytes":6763315,"p50_us":1866.0,\
"p90_us":2390.0,"p99_us":3040.0,"max_us":4560.0,\
"errors":{"connect":0,"read":0,"write":0,"status":3,"timeout":1}}
"""
H2LOAD = """\
requests: 4 total, 4 started, 4 done, 3 succeeded, 1 failed, 0 errored, 0 timeout
traffic: 1.88MB (1972012) total, 40.39KB (41361) headers (space savings 96%), \
1.31MB (1378861) data
"""
H2LOAD_LOG = [
    "1795247012752009\t200\t1000",
    "1795247012751988\t200\t2000",
    "1795247012751997\t200\t3000",
    "1795247012751998\t500\t9000",
]


def test_wrk_is_read_with_its_errors_by_kind():
    result = parse_wrk(WRK, client_cpu_ns=5)

    assert result.requests == 16392
    assert result.requests_per_second == pytest.approx(16392 / 2.001)
    assert (result.p50_us, result.p99_us) == (1866.0, 3040.0)
    assert result.errors == 4
    assert result.error_kinds == {"status": 3, "timeout": 1}
    assert result.client_cpu_ns == 5


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("unable to connect to 127.0.0.1:1 Connection refused", "printed no result"),
        (WRK.replace('"requests":16392', '"requests":0'), "no request answered"),
    ],
    ids=["no line", "no request"],
)
def test_wrk_without_a_figure_is_a_failure(output, words):
    with pytest.raises(LoadFailed, match=words):
        parse_wrk(output, client_cpu_ns=0)


def test_h2load_counts_answers_with_status_200_and_takes_percentiles_of_those():
    result = parse_h2load(H2LOAD, H2LOAD_LOG, seconds=2, client_cpu_ns=0)

    assert (result.requests, result.errors, result.error_kinds) == (3, 1, {"status": 1})
    assert (result.p50_us, result.max_us) == (2000.0, 3000.0)
    assert result.requests_per_second == 1.5
    assert result.bytes_read == 1378861


@pytest.mark.parametrize("rows", [[], ["1\t503\t10"]], ids=["empty", "refused"])
def test_h2load_without_an_answer_is_a_failure(rows):
    with pytest.raises(LoadFailed, match="answered with 200"):
        parse_h2load("", rows, seconds=2, client_cpu_ns=0)


def test_single_durations_follow_one_another():
    result = from_times(np.array([1_000_000, 3_000_000], np.int64))

    assert (result.requests, result.seconds, result.p50_us) == (2, 0.004, 2000.0)


def test_a_script_has_no_request_function_that_would_run_lua_for_each_request(tmp_path):
    request = HttpRequest(method="POST", path="/x", headers={"A": 'quo"te'}, body=b"body")

    script = lua_script(request, body_path=tmp_path / "body")

    assert 'wrk.headers["A"] = "quo\\"te"' in script
    assert str(tmp_path / "body") in script
    assert "function request" not in script


def test_a_missing_load_generator_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(MissingTool, match=r"h2load, wrk not found .* nghttp2-client wrk"):
        require("h2load", "wrk")
