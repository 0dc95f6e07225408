"""The metrics by name: Triton's, MLServer's and our own, each a row of a table.

Source: names, types, helps and labels of `nv_*` from Triton's core (`metrics.cc`), checked on 2.51;
those of `model_infer_*` from MLServer 1.7.1 as seen running.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from mpserve.dialect import DialectName
from mpserve.telemetry.counters import FailureReason, ModelCounts
from mpserve.telemetry.exposition import Family, Kind, Sample
from mpserve.telemetry.latency_families import latency_families, tagged
from mpserve.telemetry.machine import Machine
from mpserve.telemetry.snapshot import FrontendView, InstanceView, Snapshot, VersionView

_NS_PER_US: Final = 1000
_NS_PER_SECOND: Final = 1_000_000_000


class MetricsChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wants to see.

    Attributes
    ----------
    dialect
        Whose families there are besides our own.
    counter_latencies
        The five durations of `nv_inference_*`.
    summary_quantiles
        Of the five summaries of latencies; none for no summaries.
    histogram_latencies
        The histogram of first responses.
    """

    dialect: DialectName
    counter_latencies: bool = True
    summary_quantiles: tuple[float, ...] = ()
    histogram_latencies: bool = False


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A family and how its samples are read from a snapshot."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Snapshot], Iterable[Sample]]
    is_duration: bool = False


def families(snapshot: Snapshot, choice: MetricsChoice) -> Iterator[Family]:
    """Return all families of a scrape, in the order of the tables."""
    for row in (*_PEERS[choice.dialect], *_OWN):
        if choice.counter_latencies or not row.is_duration:
            yield Family(
                name=row.name, kind=row.kind, help=row.help, samples=tuple(row.read(snapshot))
            )
    if choice.dialect is DialectName.TRITON:
        yield from latency_families(
            snapshot,
            quantiles=choice.summary_quantiles,
            with_histogram=choice.histogram_latencies,
        )


# --- readers ------------------------------------------------------------------------------------

Read = Callable[[Snapshot], Iterable[Sample]]


def _plain(view: VersionView) -> dict[str, str]:
    return {"model": view.model, "version": view.version}


def _of_mlserver(view: VersionView) -> dict[str, str]:
    return {"model": view.model, "version": view.version or "None"}


def _of_versions(
    value: Callable[[VersionView], float],
    *,
    labels: Callable[[VersionView], Mapping[str, str]] = tagged,
    suffix: str = "",
) -> Read:
    return lambda snapshot: [
        Sample(labels=labels(view), value=value(view), suffix=suffix) for view in snapshot.versions
    ]


def _counted(value: Callable[[ModelCounts], float]) -> Read:
    return _of_versions(lambda view: value(view.counts))


def _failures(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.versions:
        for reason in FailureReason:
            labels = {**tagged(view), "reason": reason.value}
            yield Sample(labels=labels, value=view.counts.failures[reason])


def _of_machine(value: Callable[[Machine], float]) -> Read:
    return lambda snapshot: (
        [Sample(value=value(snapshot.machine))] if snapshot.machine is not None else []
    )


def _request_seconds(snapshot: Snapshot) -> Iterator[Sample]:
    """MLServer times every request that reaches the model, also one that fails."""
    for view in snapshot.versions:
        counts, labels = view.counts, _of_mlserver(view)
        seconds = (counts.success_ns + counts.failure_ns) / _NS_PER_SECOND
        yield Sample(labels=labels, suffix="_count", value=counts.successes + counts.failed)
        yield Sample(labels=labels, suffix="_sum", value=seconds)


def _place(view: VersionView, instance: InstanceView) -> str:
    return f"worker:{view.model}/{view.version}/{instance.index}"


def _of_arenas(
    of_frontend: Callable[[FrontendView], int], of_instance: Callable[[InstanceView], int]
) -> Read:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for one in snapshot.frontends:
            yield Sample(labels={"process": f"frontend:{one.index}"}, value=of_frontend(one))
        for view in snapshot.versions:
            for instance in view.instances:
                labels = {"process": _place(view, instance)}
                yield Sample(labels=labels, value=of_instance(instance))

    return read


def _worker_states(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.versions:
        states = [instance.state for instance in view.instances]
        for state in sorted(set(states)):
            yield Sample(labels={**_plain(view), "state": state}, value=states.count(state))


def _loads(snapshot: Snapshot) -> Iterator[Sample]:
    for load in snapshot.loads:
        for outcome, value in (("success", load.succeeded), ("failure", load.failed)):
            yield Sample(labels={"model": load.model, "outcome": outcome}, value=value)


def _load_seconds(snapshot: Snapshot) -> Iterator[Sample]:
    return (Sample(labels={"model": one.model}, value=one.seconds) for one in snapshot.loads)


def _resident(snapshot: Snapshot) -> Iterator[Sample]:
    yield Sample(labels={"process": "supervisor"}, value=snapshot.supervisor_bytes)
    for one in snapshot.frontends:
        yield Sample(labels={"process": f"frontend:{one.index}"}, value=one.resident_bytes)
    for view in snapshot.versions:
        for instance in view.instances:
            labels = {"process": _place(view, instance)}
            yield Sample(labels=labels, value=instance.resident_bytes)


def _frontend_restarts(snapshot: Snapshot) -> Iterator[Sample]:
    for one in snapshot.frontends:
        yield Sample(labels={"frontend": str(one.index)}, value=one.restarts)


# --- tables -------------------------------------------------------------------------------------


def _counter(name: str, text: str, read: Read) -> _Row:
    return _Row(name=name, kind=Kind.COUNTER, help=text, read=read)


def _gauge(name: str, text: str, read: Read) -> _Row:
    return _Row(name=name, kind=Kind.GAUGE, help=text, read=read)


def _duration(part: str, text: str, nanoseconds: Callable[[ModelCounts], int]) -> _Row:
    return _Row(
        name=f"nv_inference_{part}_duration_us",
        kind=Kind.COUNTER,
        help=f"Cumulative {text}",
        read=_counted(lambda counts: nanoseconds(counts) // _NS_PER_US),
        is_duration=True,
    )


_CACHED: Final = "in microseconds (includes cached requests)"
_UNCACHED: Final = "in microseconds (does not include cached requests)"

_TRITON: Final = (
    _counter(
        "nv_inference_request_success",
        "Number of successful inference requests, all batch sizes",
        _counted(lambda counts: counts.successes),
    ),
    _counter(
        "nv_inference_request_failure",
        "Number of failed inference requests, all batch sizes",
        _failures,
    ),
    _counter(
        "nv_inference_count",
        "Number of inferences performed (does not include cached requests)",
        _counted(lambda counts: counts.inferences),
    ),
    _counter(
        "nv_inference_exec_count",
        "Number of model executions performed (does not include cached requests)",
        _counted(lambda counts: counts.executions),
    ),
    _duration("request", f"inference request duration {_CACHED}", lambda counts: counts.success_ns),
    _duration("queue", f"inference queuing duration {_CACHED}", lambda counts: counts.queue_ns),
    _duration(
        "compute_input", f"compute input duration {_UNCACHED}", lambda counts: counts.input_ns
    ),
    _duration(
        "compute_infer", f"compute inference duration {_UNCACHED}", lambda counts: counts.execute_ns
    ),
    _duration(
        "compute_output",
        f"inference compute output duration {_UNCACHED}",
        lambda counts: counts.output_ns,
    ),
    _gauge(
        "nv_inference_pending_request_count",
        "Instantaneous number of pending requests awaiting execution per-model.",
        _of_versions(lambda view: view.waiting),
    ),
    _gauge(
        "nv_model_load_duration_secs",
        "Model load time in seconds",
        _of_versions(lambda view: view.load_seconds),
    ),
    # There is no such pool; a Triton without a GPU tells the same.
    _gauge(
        "nv_pinned_memory_pool_total_bytes",
        "Pinned memory pool total memory size, in bytes",
        lambda _: (Sample(value=0),),
    ),
    _gauge(
        "nv_pinned_memory_pool_used_bytes",
        "Pinned memory pool used memory size, in bytes",
        lambda _: (Sample(value=0),),
    ),
    _gauge(
        "nv_cpu_utilization",
        "CPU utilization rate [0.0 - 1.0]",
        _of_machine(lambda machine: machine.processor_utilization),
    ),
    _gauge(
        "nv_cpu_memory_total_bytes",
        "CPU total memory (RAM), in bytes",
        _of_machine(lambda machine: machine.memory_total_bytes),
    ),
    _gauge(
        "nv_cpu_memory_used_bytes",
        "CPU used memory (RAM), in bytes",
        _of_machine(lambda machine: machine.memory_used_bytes),
    ),
)

_MLSERVER: Final = (
    _counter(
        "model_infer_request_success_total",
        "Model infer request success count",
        _of_versions(lambda view: view.counts.successes, labels=_of_mlserver),
    ),
    _counter(
        "model_infer_request_failure_total",
        "Model infer request failure count",
        _of_versions(lambda view: view.counts.failed, labels=_of_mlserver),
    ),
    _Row(
        name="model_infer_request_duration",
        kind=Kind.SUMMARY,
        help="Model infer request duration",
        read=_request_seconds,
    ),
)

_OWN: Final = (
    _gauge(
        "mpserve_queue_depth",
        "Requests that wait for an instance",
        _of_versions(lambda view: view.waiting, labels=_plain),
    ),
    _gauge("mpserve_workers", "Instances of a model version by state", _worker_states),
    _counter(
        "mpserve_worker_restarts_total",
        "Workers that were started again after they ended by themselves",
        _of_versions(lambda view: view.restarts, labels=_plain),
    ),
    _counter(
        "mpserve_model_changes_total",
        "Loads, reloads and unloads that ended, by outcome",
        _loads,
    ),
    _counter(
        "mpserve_model_changes_seconds_total",
        "Time that loads, reloads and unloads took in all",
        _load_seconds,
    ),
    _gauge(
        "mpserve_arena_used_bytes",
        "Shared memory that a process has in use: a frontend for requests, a worker for answers",
        _of_arenas(
            lambda frontend: frontend.arena_used_bytes,
            lambda instance: instance.counts.arena_used_bytes,
        ),
    ),
    _gauge(
        "mpserve_arena_total_bytes",
        "Shared memory that a process has reserved for that",
        _of_arenas(
            lambda frontend: frontend.arena_total_bytes,
            lambda instance: instance.counts.arena_total_bytes,
        ),
    ),
    _counter(
        "mpserve_frontend_restarts_total",
        "Frontends that were started again after they ended by themselves",
        _frontend_restarts,
    ),
    _gauge("mpserve_process_resident_bytes", "Memory that a process holds", _resident),
)

_PEERS: Final[Mapping[DialectName, tuple[_Row, ...]]] = {
    DialectName.TRITON: _TRITON,
    DialectName.MLSERVER: _MLSERVER,
}
