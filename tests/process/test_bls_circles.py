"""Models that call each other in a circle are answered, never left to hang."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.pace import within
from tests.fixtures.scripted import run_script
from tests.fixtures.waiting import wait_until

SECONDS = within(6)
TWO = "instance_group [{ count: 2 }]"


def nested(*models: str) -> str:
    """Return code that calls the models, each from the one before."""
    code = "return 'end'"
    for model in reversed(models):
        code = f"return call({model!r}, {code!r})"
    return code


def flat(result) -> str:
    return json.dumps(result)


def test_a_model_with_one_instance_that_calls_itself_gets_an_error(serve, repository):
    repository.add("scripted", "a")
    server = serve(repository.path)
    begun = time.monotonic()
    code, message = run_script(server, "a", nested("a"))
    assert time.monotonic() - begun < SECONDS
    assert code == "UNAVAILABLE"
    assert message.startswith("Model a - Error when running inference: the request can not be")
    assert "more instances" in message
    assert run_script(server, "a", "return 1") == 1


def test_a_model_with_room_for_itself_is_answered(serve, repository):
    repository.add("scripted", "a", config=TWO)
    server = serve(repository.path)
    assert run_script(server, "a", nested("a")) == "end"
    assert "can not be answered" in flat(run_script(server, "a", nested("a", "a")))


@pytest.mark.parametrize("circle", [("b", "a"), ("b", "c", "a"), ("b", "b")], ids="-".join)
def test_a_circle_through_models_gets_an_error(serve, repository, circle):
    for name in ("a", "b", "c"):
        repository.add("scripted", name)
    server = serve(repository.path)
    begun = time.monotonic()
    result = run_script(server, "a", nested(*circle))
    assert time.monotonic() - begun < SECONDS
    assert "can not be answered" in flat(result)
    assert [run_script(server, name, "return 1") for name in "abc"] == [1, 1, 1]


def test_instances_that_wait_for_each_other_go_on_when_one_is_refused(serve, repository, tmp_path):
    repository.add("scripted", "a", config=TWO)
    repository.add("scripted", "b", config=TWO)
    server = serve(repository.path)
    # Both instances of each model are taken before any asks for the other one.
    meet = f"""
import os, tempfile
tempfile.mkstemp(prefix="came", dir={str(tmp_path)!r})
while sum(name.startswith("came") for name in os.listdir({str(tmp_path)!r})) < 4:
    time.sleep(0.005)
return call('OTHER', 'return 1')
"""
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(
                lambda name: run_script(
                    server, name, meet.replace("OTHER", "ba"["ab".index(name)])
                ),
                "abab",
            )
        )
    assert 1 in results
    assert any("can not be answered" in flat(result) for result in results)
    assert run_script(server, "a", nested("b")) == "end"


@pytest.mark.parametrize(
    "way",
    [
        "return asyncio.run(wait())",
        "thread = threading.Thread(target=lambda: model.__dict__.update(r=call('a', 'return 1')))\n"
        "thread.start(); thread.join(); return model.r",
        "return [result_of(one) for one in inner('a', 'return 1').exec(decoupled=True)]",
    ],
    ids=["async", "thread", "iterator"],
)
def test_other_ways_to_wait_are_found_too(serve, repository, way):
    repository.add("scripted", "a")
    server = serve(repository.path)
    code = f"""
async def wait():
    return result_of(await inner("a", "return 1").async_exec())
{way}
"""
    begun = time.monotonic()
    assert "can not be answered" in flat(run_script(server, "a", code))
    assert time.monotonic() - begun < SECONDS


def test_slow_models_and_full_queues_are_no_circle(serve, repository):
    repository.add("scripted", "a", config="instance_group [{ count: 3 }]")
    repository.add("scripted", "b")
    server = serve(repository.path, flags=["--log-format=json"])
    slow = "return call('b', 'time.sleep(0.9); return 1')"
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda _: run_script(server, "a", slow), range(6))) == [1] * 6
    assert server.events("circle.broken") == []


def test_what_a_model_asks_for_and_does_not_wait_for_is_no_circle(serve, repository):
    repository.add("scripted", "a")
    server = serve(repository.path)
    later = """
def ask():
    model.late = call("a", "return 5")
threading.Thread(target=ask).start()
time.sleep(0.8)
return "first"
"""
    assert run_script(server, "a", later) == "first"
    wait_until(lambda: run_script(server, "a", "return getattr(model, 'late', None)") == 5)
