"""Statistics of models as Triton's statistics extension tells them, for both wires.

The members' names and order are those of its JSON; encoded by `msgspec.json` they are the body of
`GET /v2/models[/M]/stats`, and the fields of gRPC's `ModelStatisticsResponse` are named alike.

Source: Triton's `extension_statistics.md`, and its answers as seen on 2.51.
"""

import msgspec

from mpserve.telemetry.counters import BatchCounts, ModelCounts, ResponseCounts


class Duration(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was done, and how long that took in all."""

    count: int = 0
    ns: int = 0


class InferStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of requests went."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class ResponseStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of the n-th responses of a decoupled model went."""

    compute_infer: Duration
    compute_output: Duration
    success: Duration
    fail: Duration
    empty_response: Duration
    cancel: Duration


class BatchStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of executions of one batch size went."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class MemoryUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of a model on one device."""

    type: str
    id: int
    byte_size: int


class ModelStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of one version of one model, since it was loaded.

    Attributes
    ----------
    last_inference
        Milliseconds since the epoch; 0 when there was none.
    inference_count
        Rows of successful requests.
    response_stats
        Keyed by the number of the response; of decoupled models only.
    """

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStatistics
    response_stats: dict[str, ResponseStatistics] = {}
    batch_stats: tuple[BatchStatistics, ...] = ()
    memory_usage: tuple[MemoryUsage, ...] = ()


class StatisticsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the answer, and `ModelStatisticsResponse`."""

    model_stats: tuple[ModelStatistics, ...]


def model_statistics(name: str, version: str, counts: ModelCounts) -> ModelStatistics:
    """Return how the peer tells `counts`.

    Queue and compute have the count of successful requests, because each of them waited, and was
    in a batch that was computed, once.
    """
    done = counts.successes
    return ModelStatistics(
        name=name,
        version=version,
        last_inference=counts.last_inference_unix_ms,
        inference_count=counts.inferences,
        execution_count=counts.executions,
        inference_stats=InferStatistics(
            success=Duration(count=done, ns=counts.success_ns),
            fail=Duration(count=counts.failed, ns=counts.failure_ns),
            queue=Duration(count=done, ns=counts.queue_ns),
            compute_input=Duration(count=done, ns=counts.input_ns),
            compute_infer=Duration(count=done, ns=counts.execute_ns),
            compute_output=Duration(count=done, ns=counts.output_ns),
            cache_hit=Duration(),
            cache_miss=Duration(),
        ),
        response_stats={str(one.number): _response_statistics(one) for one in counts.responses},
        batch_stats=tuple(_batch_statistics(batch) for batch in counts.batches),
    )


def _response_statistics(one: ResponseCounts) -> ResponseStatistics:
    return ResponseStatistics(
        compute_infer=Duration(count=one.successes, ns=one.infer_ns),
        compute_output=Duration(count=one.successes, ns=one.output_ns),
        success=Duration(count=one.successes, ns=one.success_ns),
        fail=Duration(count=one.failures, ns=one.failure_ns),
        empty_response=Duration(count=one.empties, ns=one.empty_ns),
        cancel=Duration(),
    )


def _batch_statistics(batch: BatchCounts) -> BatchStatistics:
    return BatchStatistics(
        batch_size=batch.rows,
        compute_input=Duration(count=batch.executions, ns=batch.input_ns),
        compute_infer=Duration(count=batch.executions, ns=batch.execute_ns),
        compute_output=Duration(count=batch.executions, ns=batch.output_ns),
    )
