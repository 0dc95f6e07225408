"""What was unloaded or replaced may finish what it has, but not for ever."""

import time

from tests.fixtures.pace import within
from tests.fixtures.teller import in_flight, tell
from tests.fixtures.waiting import wait_until

FLAGS = ["--model-control-mode=explicit", "--load-model=m", "--model-drain-timeout-secs=1"]


def test_a_request_past_the_limit_is_answered_with_an_error_and_its_worker_ends(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    old = server.process_named("mps:m")
    with in_flight(server, "m", seconds=30) as late:
        repository.add_version("teller", "m", 2)
        begun = time.monotonic()
        assert server.load("m").status == 200
        assert late.result.status == 503
        assert b'"error"' in late.result.body
        assert 0.9 < time.monotonic() - begun < 1 + within(2)
    wait_until(lambda: not old.is_running(), what="the old worker to end")
    assert tell(server, "m").version == 2
    assert "--model-drain-timeout-secs" in server.log_text


def test_an_unload_frees_the_model_at_the_limit(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    with in_flight(server, "m", seconds=30) as request:
        assert server.unload("m").status == 200
        assert request.result.status == 503
    wait_until(lambda: server.index()[0]["state"] == "UNAVAILABLE", what="the unload to end")
    assert server.index()[0]["reason"] == "unloaded"
    wait_until(lambda: not server.processes_named("mps:m"), what="the worker to end")
