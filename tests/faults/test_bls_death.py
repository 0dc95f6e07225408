"""SIGKILL of models that call models, and of those that are called."""

import time

from tests.fixtures.closed_loop import ClosedLoop, infer_bytes
from tests.fixtures.pace import within
from tests.fixtures.scripted import run_script, script_body
from tests.fixtures.waiting import wait_until

ANSWERED_SECONDS = within(1)
FLAGS = ["--model-control-mode=explicit", "--load-model=*", "--log-format=json"]
CALL = "return call('called', 'return 7')"


def scripted(repository, *names: str, config: str = "") -> None:
    for name in names:
        repository.add("scripted", name, config=config)


def test_a_killed_called_model_is_an_error_at_once(serve, repository):
    scripted(repository, "caller", "called")
    server = serve(repository.path, flags=FLAGS)
    assert run_script(server, "caller", CALL) == 7
    code = """
    begun = time.monotonic()
    result = call("called", "import os; os.kill(os.getpid(), 9)")
    return [time.monotonic() - begun, result]
    """
    seconds, (name, message) = run_script(server, "caller", code)
    assert seconds < ANSWERED_SECONDS
    assert name == "UNAVAILABLE"
    assert "ended before it answered" in message
    wait_until(lambda: run_script(server, "caller", CALL) == 7, what="the model to come back")


def test_a_killed_caller_leaves_nothing_to_the_models_it_called(serve, repository):
    scripted(repository, "caller", "called")
    server = serve(repository.path, flags=FLAGS)
    assert run_script(server, "caller", CALL) == 7
    before = len(server.segments())
    for _ in range(3):
        worker = server.process_named("mps:caller")
        dying = """
        for _ in range(20):
            inner("called", "time.sleep(0.05); return 1")
        threads = [threading.Thread(target=call, args=("called", "time.sleep(1)"))
                   for _ in range(20)]
        for thread in threads:
            thread.start()
        import os
        time.sleep(0.08)
        os.kill(os.getpid(), 9)
        """
        assert server.infer("caller", script_body(dying)).status == 503
        wait_until(lambda pid=worker.pid: server.process_named("mps:caller").pid != pid)
        begun = time.monotonic()
        wait_until(lambda: run_script(server, "caller", CALL) == 7)
        assert time.monotonic() - begun < within(2), "what the dead one asked for is not executed"
    wait_until(lambda: len(server.segments()) <= before + 1, what="segments of the dead to go")
    pending = 'nv_inference_pending_request_count{model="called",version="1"}'
    wait_until(lambda: f"{pending} 0" in server.metrics().splitlines(), what="nobody to wait")


def test_callers_and_called_are_killed_under_load(serve, repository):
    scripted(repository, "caller", "called", config="instance_group [{ count: 2 }]")
    server = serve(repository.path, flags=FLAGS)
    with ClosedLoop(server, infer_bytes("caller", script_body(CALL)), clients=6) as load:
        for name in ("mps:called", "mps:caller", "mps:called", "mps:caller"):
            load.wait_answered(by_each=3)
            server.processes_named(name)[0].kill()
            wait_until(lambda name=name: len(server.processes_named(name)) == 2)
        load.wait_answered(that=lambda one: one.status == 200 and b"7" in one.body, by_each=3)
    assert {one.status for one in load.outcomes} <= {200, 503}
    assert run_script(server, "caller", CALL) == 7


def test_an_answer_of_a_killed_model_stays_readable(serve, repository):
    scripted(repository, "caller", "called")
    server = serve(repository.path, flags=FLAGS)
    keep = """
    code = '''return pb_utils.InferenceResponse([
        pb_utils.Tensor("RESULT", np.array(["r"], dtype=object)),
        pb_utils.Tensor("Y", np.arange(100_000, dtype=np.float32))])'''
    response = inner("called", code, requested_output_names=["Y"]).exec()
    model.kept = response.output_tensors()[0].as_numpy()
    call("called", "import os; os.kill(os.getpid(), 9)")
    return int(model.kept[-1])
    """
    assert run_script(server, "caller", keep) == 99_999
    time_of_sweep = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > time_of_sweep, what="the sweep of its memory")
    assert run_script(server, "caller", "return int(model.kept[-1])") == 99_999


def test_calls_go_on_under_the_next_supervisor(serve, repository):
    scripted(repository, "caller", "called")
    server = serve(repository.path, flags=FLAGS)
    assert run_script(server, "caller", CALL) == 7
    first = server.process_named("mps supervisor")
    first.kill()
    assert run_script(server, "caller", CALL) == 7, "nobody waits for a supervisor"
    wait_until(lambda: server.process_named("mps supervisor").pid != first.pid)
    called = server.process_named("mps:called")
    called.kill()
    wait_until(
        lambda: (
            run_script(server, "caller", CALL) == 7
            and server.process_named("mps:called").pid != called.pid
        ),
        what="the next supervisor to know who calls",
    )
