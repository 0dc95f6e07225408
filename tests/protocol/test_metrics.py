"""The metrics port of a real server, read as a scraper reads it."""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.server import Server
from tests.fixtures.teller import ask, in_flight, tell, teller_request
from tests.fixtures.waiting import wait_until

EXPLICIT = ("--model-control-mode=explicit", "--load-model=*")
LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
LABELS = 'model="a",version="1"'
ONE_ROW = {
    "inputs": [{"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]
}


def series(server: Server) -> dict[str, float]:
    """Return `name{labels}` -> value."""
    lines = [line for line in server.metrics().splitlines() if not line.startswith("#")]
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    found = {f"{one[1]}{{{one[2] or ''}}}": float(one[3]) for one in matches if one}
    assert len(found) == len(lines), "a series was told twice"
    return found


def successes(server: Server) -> float:
    return series(server)[f"nv_inference_request_success{{{LABELS}}}"]


@contextmanager
def in_waiting(server: Server) -> Iterator[None]:
    """Hold a request in the queue behind one that is executed; its client goes with the block."""
    pending = f"nv_inference_pending_request_count{{{LABELS}}}"
    body = json.dumps(teller_request()).encode()
    head = f"POST /v2/models/a/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + body)
        wait_until(lambda: series(server)[pending] == 1, what="the request to wait")
        yield


def failures(server: Server) -> dict[str, float]:
    name = "nv_inference_request_failure"
    pattern = re.compile(name + r'\{model="a",reason="([A-Z]+)",version="1"\}')
    found = ((pattern.fullmatch(one), value) for one, value in series(server).items())
    return {match[1]: value for match, value in found if match and value}


# --- the port -----------------------------------------------------------------------------------


def test_row_112_another_path_is_empty_and_another_method_refused(triton):
    port = triton.metrics_port
    answer = triton.request("GET", "/x", port=port)
    assert (answer.status, answer.body) == (200, b"")
    answer = triton.request("POST", "/metrics", port=port)
    assert (answer.status, answer.json()) == (405, {"error": "Method Not Allowed"})
    answer = triton.request("GET", "/metrics", port=port)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_row_112_labels_are_sorted(triton):
    triton.infer("m", ONE_ROW)
    for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
        assert f'nv_inference_request_failure{{model="m",reason="{reason}",version="1"}} ' in (
            triton.metrics()
        )


def test_help_and_type_stand_once_before_their_samples(triton):
    lines = triton.metrics().splitlines()
    heads = [tuple(line.split(" ")[1:3]) for line in lines if line.startswith("# ")]
    assert set(Counter(heads).values()) == {1}
    names = [line.split(" ")[2] for line in lines if line.startswith("# HELP")]
    assert names == [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]


def test_the_clients_library_reads_the_page(triton, mlserver):
    parser = pytest.importorskip("prometheus_client.parser")
    for server in (triton, mlserver):
        families = list(parser.text_string_to_metric_families(server.metrics()))
        assert families
        assert all(family.samples and family.type != "unknown" for family in families)


def test_a_request_raises_what_it_should(triton):
    before = series(triton)
    assert triton.infer("m", ONE_ROW).status == 200
    after = series(triton)
    labels = '{model="m",version="1"}'
    for name in ("request_success", "count", "exec_count"):
        key = f"nv_inference_{name}{labels}"
        assert after[key] - before[key] == 1
    key = f"nv_inference_request_duration_us{labels}"
    assert after[key] > before[key]


def test_mlservers_families_are_told_in_its_dialect(mlserver):
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    before = series(mlserver)
    assert mlserver.infer("versioned", {"inputs": [tensor]}).status == 200
    after = series(mlserver)
    labels = '{model="versioned",version="v0.1.0"}'
    for name in ("model_infer_request_success_total", "model_infer_request_duration_count"):
        assert after[name + labels] - before[name + labels] == 1
    assert not [name for name in after if name.startswith("nv_")]
    answer = mlserver.request("GET", "/x", port=mlserver.metrics_port)
    assert (answer.status, answer.json()) == (404, {"detail": "Not Found"})


def test_shared_memory_is_told_of_every_process_that_has_some(triton):
    assert triton.infer("m", ONE_ROW).status == 200
    for process in ("frontend:0", "worker:m/1/0"):
        name = f'mpserve_arena_total_bytes{{process="{process}"}}'
        wait_until(lambda name=name: series(triton)[name] > 0, what=f"{process} to tell")


# --- over the life of a model -------------------------------------------------------------------


def test_a_reload_goes_on_counting(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    tell(server, "a")
    seen = [successes(server)]
    for value in range(3):
        repository.add("teller", "a", files={"1/value.txt": str(value)})
        assert server.load("a").status == 200
        seen.append(successes(server))
        assert tell(server, "a").value == value
        seen.append(successes(server))
    assert seen == [1, 1, 2, 2, 3, 3, 4]
    changes = 'mpserve_model_changes_total{model="a",outcome="success"}'
    assert series(server)[changes] == 4


def test_counts_stay_when_the_old_queue_has_gone(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    tell(server, "a")
    repository.add("teller", "a", files={"1/value.txt": "2"})
    assert server.load("a").status == 200

    def is_unmapped() -> bool:
        assert successes(server) == 1
        return "queue1 (deleted)" not in Path(f"/proc/{server.pid}/maps").read_text()

    wait_until(is_unmapped, what="the supervisor to unmap the first queue")
    assert successes(server) == 1


def test_an_unloaded_model_has_no_series_and_begins_anew(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    tell(server, "a")
    assert server.unload("a").status == 200
    assert not [name for name in series(server) if name.startswith("nv_inference")]


def test_the_death_of_a_worker_takes_nothing_back(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    tell(server, "a")
    with in_flight(server, "a", seconds=30) as request:
        server.process_named("mps:a").kill()
        assert request.result.status == 503
    tell(server, "a")
    assert successes(server) == 2
    wait_until(lambda: failures(server) == {"BACKEND": 1}, what="the failure to be counted")
    restarts = f"mpserve_worker_restarts_total{{{LABELS}}}"
    wait_until(lambda: series(server)[restarts] == 1, what="the restart to be counted")


def test_the_death_of_a_frontend_takes_nothing_back(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    tell(server, "a")
    server.process_named("mps frontend 0").kill()
    wait_until(lambda: ask(server, "a").status == 200, what="the frontend to be back")
    assert successes(server) == 2
    restarts = 'mpserve_frontend_restarts_total{frontend="0"}'
    wait_until(lambda: series(server)[restarts] == 1, what="the restart to be counted")


def test_a_request_past_the_limit_of_the_queue_is_rejected(serve, repository):
    repository.add(
        "teller", "a",
        config="dynamic_batching { default_queue_policy { max_queue_size: 1 } }\nmax_batch_size: 0",
    )  # fmt: skip
    server = serve(repository.path, flags=EXPLICIT)
    with in_flight(server, "a"), in_waiting(server):
        assert ask(server, "a").status == 503
        wait_until(lambda: failures(server) == {"REJECTED": 1}, what="the refusal")


@pytest.mark.parametrize("slots", [1024, 1], ids=["in the queue", "for room in the queue"])
def test_a_request_that_waits_is_pending_and_cancelled_with_its_client(serve, repository, slots):
    repository.add("teller", "a")
    server = serve(repository.path, flags=(*EXPLICIT, f"--queue-slots={slots}"))
    with in_flight(server, "a"):
        with in_waiting(server):
            pass
        wait_until(lambda: failures(server) == {"CANCELED": 1}, what="the request to be dropped")
        pending = f"nv_inference_pending_request_count{{{LABELS}}}"
        wait_until(lambda: series(server)[pending] == 0, what="nobody to wait")


# --- settings -----------------------------------------------------------------------------------


def test_metrics_may_be_off_or_less(serve, repository):
    server = serve(repository.path, flags=("--allow-metrics=false",))
    with pytest.raises(ConnectionRefusedError):
        server.metrics()
    repository.add("teller", "a")
    flags = ("--allow-cpu-metrics=false", "--metrics-config=counter_latencies=false")
    names = {name.partition("{")[0] for name in series(serve(repository.path, flags=flags))}
    assert "nv_inference_count" in names
    assert not [name for name in names if name.startswith("nv_cpu") or "duration_us" in name]


def test_a_port_in_use_ends_the_start(serve, repository):
    first = serve(repository.path)
    flags = (f"--metrics-port={first.metrics_port}",)
    second = serve(repository.path, flags=flags, wait_ready=False)
    assert second.wait_exit() == 1
    second.expected_exit_code = 1
    place = f"127.0.0.1:{first.metrics_port}"
    assert (
        f"failed to start Metrics service: Unavailable - Socket '{place}' already in use "
        in second.log_text
    )
