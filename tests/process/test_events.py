"""`GET /v2/repository/events`: what happened to which model, and who asked for it."""

import time

from tests.fixtures.teller import ask, tell
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"


def events(server, query=""):
    answer = server.get(f"/v2/repository/events{query}")
    assert answer.status == 200, answer
    return answer.json()


def told(server, query=""):
    return [
        (one["model"], one["version"], one["asked_by"], one["from"], one["to"])
        for one in events(server, query)["events"]
    ]


def test_load_reload_and_unload_are_told_with_who_asked(serve, repository):
    repository.add("teller", "a")
    repository.add("teller", "b")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=a"])
    assert told(server) == [
        ("a", "1", "start", None, "LOADING"),
        ("a", "1", "start", "LOADING", "READY"),
    ]
    begun = events(server)["last"]
    assert server.load("b").status == 200
    assert server.unload("b").status == 200
    wait_until(lambda: told(server, "?model=b")[-1][-1] == "UNAVAILABLE")
    assert told(server, f"?since={begun}") == told(server, "?model=b")
    assert told(server, "?model=b") == [
        ("b", "1", "client", None, "LOADING"),
        ("b", "1", "client", "LOADING", "READY"),
        ("b", "1", "client", "READY", "UNLOADING"),
        ("b", "1", "client", "UNLOADING", "UNAVAILABLE"),
    ]
    loading, ready, _, gone = events(server, "?model=b")["events"]
    assert ready["took_ms"] > 0
    assert ready["at_unix_ns"] > loading["at_unix_ns"] > time.time_ns() - 60e9
    assert gone["why"] == "unloaded"


def test_a_change_that_poll_took_is_told(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=["--model-control-mode=poll", "--repository-poll-secs=1"])
    begun = events(server)["last"]
    repository.write("a/1/value.txt", "7")
    wait_until(lambda: tell(server, "a").value == 7)
    wait_until(lambda: "READY" in {one[-1] for one in told(server, f"?since={begun}")})
    found = events(server, f"?since={begun}")["events"]
    assert {one["asked_by"] for one in found} == {"poll"}
    assert [(one["from"], one["to"]) for one in found if one["generation"] == 2] == [
        (None, "LOADING"),
        ("LOADING", "READY"),
    ]


def test_a_change_that_poll_could_not_take_is_told_with_the_reason(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=["--model-control-mode=poll", "--repository-poll-secs=1"])
    begun = events(server)["last"]
    repository.write("a/config.pbtxt", "no configuration")
    wait_until(lambda: events(server)["last"] > begun)
    (refused,) = events(server, f"?since={begun}")["events"]
    assert (refused["model"], refused["asked_by"], refused["to"]) == ("a", "poll", None)
    assert "config.pbtxt" in refused["why"]
    assert tell(server, "a").version == 1


def test_a_load_of_what_can_not_be_read_is_told_and_of_what_is_not_there_is_not(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=[EXPLICIT])
    repository.write("a/config.pbtxt", "no configuration")
    assert server.load("a").status == 500
    assert server.load("absent").status != 200
    (refused,) = events(server)["events"]
    assert (refused["model"], refused["asked_by"], refused["to"]) == ("a", "client", None)


def test_a_failed_load_tells_why(serve, repository):
    repository.add_faulty("bad", place="initialize", fault="raise")
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("bad").status == 400
    failed = events(server)["events"][-1]
    assert (failed["to"], failed["why"].partition(":")[0]) == ("UNAVAILABLE", "ValueError")


def test_the_death_of_a_worker_is_told_of_its_instance(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    begun = events(server)["last"]
    server.process_named("mps:a").kill()
    wait_until(lambda: ask(server, "a").status == 200 and len(told(server, f"?since={begun}")) >= 3)
    assert told(server, f"?since={begun}") == [
        ("a", "1", "crash", "READY", "UNAVAILABLE"),
        ("a", "1", "crash", "UNAVAILABLE", "LOADING"),
        ("a", "1", "crash", "LOADING", "READY"),
    ]
    assert [one["instance"] for one in events(server, f"?since={begun}")["events"]] == [0, 0, 0]


def test_a_query_that_makes_no_sense_is_refused(serve, repository):
    server = serve(repository.path)
    answer = server.get("/v2/repository/events?since=yesterday")
    assert answer.status == 400
    assert "must be the number of an event" in answer.json()["error"]
    assert server.post("/v2/repository/events").status == 405
