"""Metrics that models keep themselves, on the metrics port of a real server."""

import contextlib
import json
import os
import re
import signal

from tests.fixtures.waiting import wait_until

MODEL = """
import os
import mlserver
from mlserver import MLModel
from mlserver.types import InferenceResponse


class Counting(MLModel):
    async def load(self):
        mlserver.register("words_total_seen", "Words that were seen")
        return True

    async def predict(self, payload):
        mlserver.log(words_total_seen=payload.inputs[0].data[0], unregistered=1)
        return InferenceResponse(model_name=self.name, outputs=[])
"""


def folder(tmp_path, **fields):
    place = tmp_path / "models" / "counting"
    place.mkdir(parents=True)
    (place / "counting.py").write_text(MODEL)
    settings = {"name": "counting", "implementation": "counting.Counting"} | fields
    (place / "model-settings.json").write_text(json.dumps(settings))
    return tmp_path / "models"


def ask(server, value):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [value]}
    assert server.infer("counting", {"inputs": [tensor]}).status == 200


def value(server, sample):
    found = re.search(rf"^{re.escape(sample)} (\S+)$", server.metrics(), flags=re.MULTILINE)
    return float(found[1]) if found else 0.0


LABELS = '{model_name="counting",model_version="v3"}'
COUNT, SUM = f"words_total_seen_count{LABELS}", f"words_total_seen_sum{LABELS}"


def test_what_a_model_logs_is_on_the_metrics_port_over_all_its_workers(start, tmp_path):
    server = start(folder(tmp_path, parallel_workers=2, parameters={"version": "v3"}))
    for number in range(20):
        ask(server, number)
    wait_until(lambda: value(server, COUNT) == 20, what="all to be counted")
    wait_until(lambda: value(server, SUM) == sum(range(20)), what="all to be summed")
    bucket = 'words_total_seen_bucket{le="5.0",model_name="counting",model_version="v3"}'
    wait_until(lambda: value(server, bucket) == 6, what="the bucket to be counted")
    unregistered = f"unregistered_count{LABELS}"
    wait_until(lambda: value(server, unregistered) == 20, what="the other one to be counted")
    assert "# HELP words_total_seen Words that were seen\n" in server.metrics()


def test_the_next_look_shows_what_was_logged_before_the_answer(start, tmp_path):
    server = start(folder(tmp_path, parameters={"version": "v3"}))
    for count in range(1, 6):
        ask(server, 2)
        assert (value(server, COUNT), value(server, SUM)) == (count, 2 * count)


def test_nothing_that_was_counted_is_lost_by_a_death_or_a_reload(start, tmp_path):
    server = start(folder(tmp_path, parameters={"version": "v3"}))
    ask(server, 1)
    wait_until(lambda: value(server, COUNT) == 1, what="the first to be counted")
    os.kill(server.process_named("mps:counting").pid, signal.SIGKILL)
    wait_until(lambda: server.infer("counting", {"inputs": []}).status != 503, what="a new worker")
    ask(server, 2)
    wait_until(lambda: value(server, COUNT) == 2, what="the second to be counted")
    ask(server, 3)  # told at the latest by the worker's end
    model = tmp_path / "models" / "counting" / "counting.py"
    model.write_text(MODEL + "\n# changed\n")
    assert server.load("counting").status == 200
    wait_until(lambda: value(server, COUNT) == 3, what="the third to be counted")
    assert value(server, SUM) == 6


def test_the_process_is_told_as_by_mlservers_client_library(start, tmp_path):
    server = start(folder(tmp_path))
    found = set(re.findall(r"^# TYPE ((?:python|process)_\S+)", server.metrics(), re.MULTILINE))
    assert found == {
        *("python_gc_objects_collected_total", "python_gc_objects_uncollectable_total"),
        *("python_gc_collections_total", "python_info"),
        *("process_virtual_memory_bytes", "process_resident_memory_bytes"),
        *("process_start_time_seconds", "process_cpu_seconds_total"),
        *("process_open_fds", "process_max_fds"),
    }


def test_metrics_of_a_version_without_a_name_are_labelled_as_with_mlserver(start, tmp_path):
    server = start(folder(tmp_path))
    ask(server, 1)
    sample = 'model_infer_request_success_total{model="counting",version="None"}'
    wait_until(lambda: value(server, sample) == 1, what="the request to be counted")
    wait_until(
        lambda: value(server, 'unregistered_count{model_name="counting",model_version=""}') == 1,
        what="it to be counted",
    )


def test_a_new_supervisor_knows_what_was_counted(start, tmp_path):
    server = start(folder(tmp_path, parameters={"version": "v3"}))
    ask(server, 1)
    wait_until(lambda: value(server, COUNT) == 1, what="the first to be counted")
    os.kill(server.process_named("mps:counting").pid, signal.SIGKILL)
    wait_until(lambda: server.infer("counting", {"inputs": []}).status != 503, what="a new worker")
    ask(server, 2)
    wait_until(lambda: value(server, COUNT) == 2, what="the second to be counted")
    os.kill(server.process_named("mps supervisor").pid, signal.SIGKILL)

    def is_told_again():
        with contextlib.suppress(OSError):
            return value(server, COUNT) == 2
        return False

    wait_until(is_told_again, what="the counts to be there again")
