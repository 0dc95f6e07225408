"""Which metrics there are, and what they say of a snapshot."""

import pytest

from mpserve.dialect import DialectName
from mpserve.telemetry.counters import FailureReason, InstanceCounts, ModelCounts
from mpserve.telemetry.families import MetricsChoice, families
from mpserve.telemetry.machine import Machine
from mpserve.telemetry.snapshot import (
    FrontendView,
    InstanceView,
    LoadCounts,
    Snapshot,
    VersionView,
)

TRITON = MetricsChoice(dialect=DialectName.TRITON)
MLSERVER = MetricsChoice(dialect=DialectName.MLSERVER)
COUNTS = ModelCounts(
    successes=7, success_ns=7_999_999, failure_ns=1_000_000_000, inferences=9, executions=4,
    failures=dict(zip(FailureReason, (1, 2, 3, 4), strict=True)),
    queue_ns=1_000, input_ns=2_000, execute_ns=3_000, output_ns=4_000,
)  # fmt: skip
VIEW = VersionView(
    model="m",
    version="1",
    tags={"team": "a"},
    counts=COUNTS,
    waiting=5,
    load_seconds=0.5,
    restarts=2,
    instances=tuple(
        InstanceView(
            index=index,
            state=state,
            counts=InstanceCounts(
                requests_ok=1, requests_failed=0, arena_used_bytes=10, arena_total_bytes=20
            ),
            resident_bytes=100,
        )
        for index, state in enumerate(("ready", "ready", "resting"))
    ),
)
SNAPSHOT = Snapshot(
    versions=(VIEW,),
    loads=(LoadCounts(model="m", succeeded=3, failed=1, seconds=2.5),),
    frontends=(
        FrontendView(
            index=0, arena_used_bytes=7, arena_total_bytes=8, resident_bytes=50, restarts=1
        ),
    ),
    machine=Machine(processor_utilization=0.25, memory_total_bytes=4, memory_used_bytes=3),
    supervisor_bytes=70,
)


def samples(name: str, choice: MetricsChoice = TRITON, snapshot: Snapshot = SNAPSHOT) -> dict:
    found = {family.name: family for family in families(snapshot, choice)}
    return {
        (sample.suffix, *(f"{key}={sample.labels[key]}" for key in sorted(sample.labels))): (
            sample.value
        )
        for sample in (found[name].samples if name in found else ())
    }


def only(name: str, choice: MetricsChoice = TRITON) -> float:
    (value,) = samples(name, choice).values()
    return value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nv_inference_request_success", 7),
        ("nv_inference_count", 9),
        ("nv_inference_exec_count", 4),
        ("nv_inference_request_duration_us", 7_999),
        ("nv_inference_queue_duration_us", 1),
        ("nv_inference_compute_input_duration_us", 2),
        ("nv_inference_compute_infer_duration_us", 3),
        ("nv_inference_compute_output_duration_us", 4),
        ("nv_inference_pending_request_count", 5),
        ("nv_model_load_duration_secs", 0.5),
        ("nv_cpu_utilization", 0.25),
        ("nv_cpu_memory_total_bytes", 4),
        ("nv_cpu_memory_used_bytes", 3),
        ("mpserve_queue_depth", 5),
        ("mpserve_worker_restarts_total", 2),
        ("mpserve_model_changes_seconds_total", 2.5),
        ("mpserve_frontend_restarts_total", 1),
    ],
)
def test_a_family_tells_its_part_of_the_snapshot(name, value):
    assert only(name) == value


def test_tritons_series_carry_the_models_tags_and_all_four_reasons():
    found = samples("nv_inference_request_failure")
    assert list(found) == [
        ("", "_team=a", "model=m", f"reason={reason}", "version=1")
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")
    ]
    assert list(found.values()) == [1, 2, 3, 4]


def test_durations_may_be_left_out_and_counts_stay():
    choice = MetricsChoice(dialect=DialectName.TRITON, counter_latencies=False)
    names = {family.name for family in families(SNAPSHOT, choice)}
    assert not {name for name in names if name.endswith("_duration_us")}
    assert "nv_inference_count" in names


def test_the_machine_is_told_only_when_it_was_looked_at():
    assert samples("nv_cpu_utilization", snapshot=Snapshot()) == {}


def test_each_dialect_has_its_peers_families_and_both_have_our_own():
    by_dialect = [
        {family.name for family in families(SNAPSHOT, choice)} for choice in (TRITON, MLSERVER)
    ]
    assert any(name.startswith("nv_") for name in by_dialect[0])
    assert not any(name.startswith("nv_") for name in by_dialect[1])
    assert all("mpserve_workers" in names for names in by_dialect)


def test_mlserver_counts_and_times_requests_by_model_and_version():
    place = ("model=m", "version=1")
    assert samples("model_infer_request_success_total", MLSERVER) == {("", *place): 7}
    assert samples("model_infer_request_failure_total", MLSERVER) == {("", *place): 10}
    assert samples("model_infer_request_duration", MLSERVER) == {
        ("_count", *place): 17,
        ("_sum", *place): pytest.approx(1.007999999),
    }


def test_workers_are_counted_by_state():
    assert samples("mpserve_workers") == {
        ("", "model=m", "state=ready", "version=1"): 2,
        ("", "model=m", "state=resting", "version=1"): 1,
    }


def test_shared_memory_is_told_of_frontends_and_workers():
    workers = {("", f"process=worker:m/1/{index}"): 10 for index in range(3)}
    assert samples("mpserve_arena_used_bytes") == {("", "process=frontend:0"): 7, **workers}
    assert samples("mpserve_arena_total_bytes")["", "process=frontend:0"] == 8


def test_memory_is_told_of_every_process():
    assert samples("mpserve_process_resident_bytes") == {
        ("", "process=supervisor"): 70,
        ("", "process=frontend:0"): 50,
        ("", "process=worker:m/1/0"): 100,
        ("", "process=worker:m/1/1"): 100,
        ("", "process=worker:m/1/2"): 100,
    }


def test_names_and_help_are_those_of_a_family_each():
    for choice in (TRITON, MLSERVER):
        found = list(families(SNAPSHOT, choice))
        assert len({family.name for family in found}) == len(found)
        assert all(family.help for family in found)
