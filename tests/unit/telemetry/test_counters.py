"""What was counted, in one shape, added up."""

from mpserve.telemetry.counters import BatchCounts, FailureReason, ModelCounts, ResponseCounts

CORE = {
    "successes": 5, "success_ns": 50, "failure_ns": 7, "rejected": 1, "canceled": 2, "backend": 3,
    "other": 4, "inferences": 9, "executions": 3, "queue_ns": 10, "input_ns": 11, "execute_ns": 12,
    "output_ns": 13, "last_inference_unix_ms": 1000, "waiting": 2,
    "batches": [(3, 1, 10, 20, 30), (1, 1, 1, 2, 3), (3, 2, 100, 200, 300)],
    "latencies": None,
    "responses": [
        (1, 1, 2, 3, 4, 5, 6, 7, 8),
        (0, 1, 1, 1, 1, 1, 1, 1, 1),
        (1, 10, 20, 30, 40, 50, 60, 70, 80),
    ],
}  # fmt: skip


def test_the_cores_counts_are_named_and_batches_of_all_instances_added_up():
    counts = ModelCounts.from_core(CORE)
    assert counts.failures == {
        FailureReason.REJECTED: 1,
        FailureReason.CANCELED: 2,
        FailureReason.BACKEND: 3,
        FailureReason.OTHER: 4,
    }
    assert (counts.successes, counts.failed, counts.inferences) == (5, 10, 9)
    assert counts.batches == (
        BatchCounts(rows=1, executions=1, input_ns=1, execute_ns=2, output_ns=3),
        BatchCounts(rows=3, executions=3, input_ns=110, execute_ns=220, output_ns=330),
    )


def test_responses_of_all_instances_are_added_up_by_number():
    counts = ModelCounts.from_core(CORE)
    assert [one.number for one in counts.responses] == [0, 1]
    assert counts.responses[1] == ResponseCounts(
        number=1,
        infer_ns=11,
        output_ns=22,
        successes=33,
        success_ns=44,
        failures=55,
        failure_ns=66,
        empties=77,
        empty_ns=88,
    )
    assert (counts + counts).responses[0].empties == 2


def test_two_generations_add_up_and_the_last_inference_is_the_later_one():
    one = ModelCounts.from_core(CORE)
    both = one + ModelCounts(successes=1, queue_ns=5, last_inference_unix_ms=900)
    assert (both.successes, both.queue_ns, both.last_inference_unix_ms) == (6, 15, 1000)
    assert both.batches == one.batches
    assert (one + one).batches[1].execute_ns == 440
    assert (one + one).failed == 20


def test_nothing_added_changes_nothing():
    one = ModelCounts.from_core(CORE)
    assert one + ModelCounts() == ModelCounts() + one == one
