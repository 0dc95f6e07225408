"""Custom metrics of Triton models on the metrics port."""

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor

from tests.fixtures.scripted import post_script, run_script
from tests.fixtures.waiting import wait_until

MAKE = """
f = pb_utils.MetricFamily
model.families = [f("tested_total", "a counter", f.COUNTER), f("tested_level", "a gauge", f.GAUGE),
                  f("tested_time", "a histogram", f.HISTOGRAM)]
model.counter = model.families[0].Metric(labels={"model": "m", "who": "x"})
model.gauge = model.families[1].Metric()
model.time = model.families[2].Metric(labels={}, buckets=[0.1, 1, 10])
"""
IN_CONFIG = json.dumps(MAKE)[1:-1]
FLAGS = ["--model-control-mode=explicit", "--load-model=*"]


def lines(server, name: str) -> list[str]:
    return [line for line in server.metrics().splitlines() if line.startswith(name)]


def wait_for(server, *expected: str) -> None:
    wait_until(
        lambda: set(expected) <= set(server.metrics().splitlines()), what=f"{expected} on the port"
    )


def test_kinds_labels_and_buckets_are_on_the_port(serve, repository):
    repository.add("scripted", "m", parameters={"initialize": IN_CONFIG})
    server = serve(repository.path, flags=FLAGS)
    code = """
    model.counter.increment(2); model.counter.increment(0.5)
    model.gauge.set(7); model.gauge.increment(-3)
    for seconds in (0.05, 0.1, 5, 50):
        model.time.observe(seconds)
    return [model.counter.value(), model.gauge.value()]
    """
    assert run_script(server, "m", code) == [2.5, 4.0]
    wait_for(
        server,
        "# HELP tested_total a counter",
        "# TYPE tested_total counter",
        'tested_total{model="m",who="x"} 2.5',
        "# TYPE tested_level gauge",
        "tested_level 4",
        "# TYPE tested_time histogram",
        'tested_time_bucket{le="0.1"} 2',
        'tested_time_bucket{le="1"} 2',
        'tested_time_bucket{le="10"} 3',
        'tested_time_bucket{le="+Inf"} 4',
        "tested_time_count 4",
        "tested_time_sum 55.15",
    )


def test_the_next_look_shows_what_was_set_before_the_answer(serve, repository):
    repository.add("scripted", "m", parameters={"initialize": IN_CONFIG})
    repository.add("scripted", "late")
    server = serve(repository.path, flags=FLAGS)
    for number in range(1, 20):
        run_script(server, "m", f"model.gauge.set({number})")
        assert lines(server, "tested_level ") == [f"tested_level {number}"]
    first = """
    model.family = pb_utils.MetricFamily("late_level", "", pb_utils.MetricFamily.GAUGE)
    model.gauge = model.family.Metric()
    """
    run_script(server, "late", first)
    assert lines(server, "late_level ") == ["late_level 0"]


def test_a_model_that_holds_the_interpreter_does_not_hold_up_the_page(serve, repository, tmp_path):
    repository.add("scripted", "m", parameters={"initialize": IN_CONFIG})
    server = serve(repository.path, flags=FLAGS)
    run_script(server, "m", "model.gauge.set(1)")
    assert lines(server, "tested_level ") == ["tested_level 1"]
    begun, lock = tmp_path / "begun", tmp_path / "lock"
    hold = f"""
    import ctypes, os
    model.gauge.set(2)
    lock = os.open({str(lock)!r}, os.O_RDONLY)
    open({str(begun)!r}, "w").close()
    ctypes.PyDLL(None).flock(lock, {fcntl.LOCK_EX})  # does not let other threads run
    os.close(lock)
    """
    with ThreadPoolExecutor(1) as pool, lock.open("w") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        held = pool.submit(run_script, server, "m", hold)
        wait_until(begun.exists, what="the model to wait")
        for _ in range(3):
            assert lines(server, "tested_level ")
        assert not held.done()
        fcntl.flock(locked, fcntl.LOCK_UN)
    wait_for(server, "tested_level 2")
    run_script(server, "m", "model.gauge.set(3)")
    assert lines(server, "tested_level ") == ["tested_level 3"]


def test_instances_are_added_up_and_a_death_takes_nothing(serve, repository, tmp_path):
    repository.add(
        "scripted",
        "m",
        config="instance_group [{ count: 2 }]",
        parameters={"initialize": IN_CONFIG},
    )
    server = serve(repository.path, flags=FLAGS)
    count = f"""
    import os
    open({str(tmp_path)!r} + f"/{{os.getpid()}}.pid", "w").close()
    while sum(name.endswith(".pid") for name in os.listdir({str(tmp_path)!r})) < 2:
        time.sleep(0.005)  # each instance takes one
    model.counter.increment(1)
    return os.getpid()
    """
    total = 12
    with ThreadPoolExecutor(4) as pool:  # more than one instance can take at a time
        pids = set(pool.map(lambda _: run_script(server, "m", count), range(total)))
    assert len(pids) == 2
    wait_for(server, f'tested_total{{model="m",who="x"}} {total}')
    server.processes_named("mps:m")[0].kill()
    wait_until(lambda: not pids >= {one.pid for one in server.processes_named("mps:m")})
    wait_until(lambda: len(server.processes_named("mps:m")) == 2)
    assert lines(server, "tested_total{") == [f'tested_total{{model="m",who="x"}} {total}']
    run_script(server, "m", count)
    wait_for(server, f'tested_total{{model="m",who="x"}} {total + 1}')


def test_a_reload_goes_on_counting_and_an_unload_ends_it(serve, repository):
    repository.add("scripted", "m", parameters={"initialize": IN_CONFIG})
    server = serve(repository.path, flags=FLAGS)
    run_script(server, "m", "model.counter.increment(3)")
    wait_for(server, 'tested_total{model="m",who="x"} 3')
    repository.write("m/1/note.txt", "changed")
    assert server.load("m").status == 200
    run_script(server, "m", "model.counter.increment(1)")
    wait_for(server, 'tested_total{model="m",who="x"} 4')
    server.unload("m")
    wait_until(lambda: lines(server, "tested_") == [], what="the metrics to be gone")


def test_what_is_deleted_is_gone(serve, repository):
    repository.add("scripted", "m", parameters={"initialize": IN_CONFIG})
    server = serve(repository.path, flags=FLAGS)
    wait_for(server, "tested_level 0")
    run_script(server, "m", "del model.gauge")
    wait_until(lambda: lines(server, "tested_level") == [])
    run_script(server, "m", "model.families.clear()")
    wait_until(lambda: lines(server, "tested_") == [])
    answer = post_script(server, "m", "model.counter.increment(1)")
    assert "the corresponding 'MetricFamily' has been deleted" in answer.json()["error"]
