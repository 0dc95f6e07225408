"""What the server counts of a model's requests, added up over processes.

The words themselves lie in shared memory (`native/include/mpserve/counters.hpp`); a
`mpserve.shm.model_queue.ModelQueue` reads them into these shapes.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import msgspec

from mpserve.telemetry.latencies import Latencies


class FailureReason(enum.Enum):
    """Why a request failed, in Triton's words and order."""

    REJECTED = "REJECTED"
    """Refused before it ran: queue full, time-out, the model was going."""
    CANCELED = "CANCELED"
    """Its client went while it waited."""
    BACKEND = "BACKEND"
    """The model, or its worker, failed."""
    OTHER = "OTHER"


class BatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Executions with one number of rows; durations count once for each execution."""

    rows: int
    executions: int = 0
    input_ns: int = 0
    execute_ns: int = 0
    output_ns: int = 0


class ResponseCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The n-th responses of a decoupled model, from 0; beyond what is kept apart, the nearest."""

    number: int
    infer_ns: int = 0
    output_ns: int = 0
    successes: int = 0
    success_ns: int = 0
    failures: int = 0
    failure_ns: int = 0
    empties: int = 0
    empty_ns: int = 0


class ModelCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted for one version of one model.

    Attributes
    ----------
    successes, failures
        Requests, each once.
    success_ns, failure_ns
        From submission to answer, of those requests.
    inferences
        Rows of successful requests.
    executions
        Batches that were executed.
    queue_ns, input_ns, execute_ns, output_ns
        Of successful requests; what a batch took counts for each of its requests, as Triton has it.
    last_inference_unix_ms
        0 when there was none.
    batches
        By ascending number of rows.
    responses
        By ascending number; of decoupled models only.
    latencies
        Where they are kept.
    """

    successes: int = 0
    success_ns: int = 0
    failures: Mapping[FailureReason, int] = msgspec.field(
        default_factory=lambda: dict.fromkeys(FailureReason, 0)
    )
    failure_ns: int = 0
    inferences: int = 0
    executions: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    execute_ns: int = 0
    output_ns: int = 0
    last_inference_unix_ms: int = 0
    batches: tuple[BatchCounts, ...] = ()
    responses: tuple[ResponseCounts, ...] = ()
    latencies: Latencies = Latencies()

    @classmethod
    def from_core(cls, counts: Mapping[str, Any]) -> Self:
        """Return the counts as the core's `ModelQueue.counts` gives them."""
        return cls(
            failures={reason: counts[reason.value.lower()] for reason in FailureReason},
            batches=_merged(BatchCounts(**dict(_named(row))) for row in counts["batches"]),
            responses=_by_number(
                ResponseCounts(**dict(zip(_RESPONSE_FIELDS, row, strict=True)))
                for row in counts["responses"]
            ),
            latencies=Latencies.from_core(counts["latencies"]),
            **{name: counts[name] for name in _SUMS},
            last_inference_unix_ms=counts["last_inference_unix_ms"],
        )

    @property
    def failed(self) -> int:
        """Requests that failed, for whatever reason."""
        return sum(self.failures.values())

    def __add__(self, other: Self) -> Self:
        """Return the counts of both together."""
        return type(self)(
            failures={
                reason: self.failures[reason] + other.failures[reason] for reason in FailureReason
            },
            batches=_merged((*self.batches, *other.batches)),
            responses=_by_number((*self.responses, *other.responses)),
            latencies=self.latencies + other.latencies,
            last_inference_unix_ms=max(self.last_inference_unix_ms, other.last_inference_unix_ms),
            **{name: getattr(self, name) + getattr(other, name) for name in _SUMS},
        )


_SUMS: Final = (
    "successes",
    "success_ns",
    "failure_ns",
    "inferences",
    "executions",
    "queue_ns",
    "input_ns",
    "execute_ns",
    "output_ns",
)
_RESPONSE_FIELDS: Final = ResponseCounts.__struct_fields__
_BATCH_SUMS: Final = ("executions", "input_ns", "execute_ns", "output_ns")


def _named(row: tuple[int, ...]) -> Iterable[tuple[str, int]]:
    return zip(("rows", *_BATCH_SUMS), row, strict=True)


def _merged(batches: Iterable[BatchCounts]) -> tuple[BatchCounts, ...]:
    """Add up the batches of equal size."""
    by_rows: dict[int, BatchCounts] = {}
    for batch in batches:
        known = by_rows.get(batch.rows, BatchCounts(rows=batch.rows))
        sums = {name: getattr(known, name) + getattr(batch, name) for name in _BATCH_SUMS}
        by_rows[batch.rows] = BatchCounts(rows=batch.rows, **sums)
    return tuple(by_rows[rows] for rows in sorted(by_rows))


def _by_number(responses: Iterable[ResponseCounts]) -> tuple[ResponseCounts, ...]:
    """Add up the responses of equal number."""
    sums: dict[int, ResponseCounts] = {}
    for one in responses:
        known = sums.get(one.number, ResponseCounts(number=one.number))
        added = {name: getattr(known, name) + getattr(one, name) for name in _RESPONSE_FIELDS[1:]}
        sums[one.number] = ResponseCounts(number=one.number, **added)
    return tuple(sums[number] for number in sorted(sums))


class InstanceCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one instance did, and the shared memory that its worker has for answers.

    Attributes
    ----------
    arena_used_bytes, arena_total_bytes
        After its last answer.
    """

    requests_ok: int
    requests_failed: int
    arena_used_bytes: int
    arena_total_bytes: int
