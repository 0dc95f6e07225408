"""Results as a run would have made them."""

from bench.loading.closed_loop import LoadResult
from bench.measuring.cpu import TreeUsage
from bench.measuring.machine import MachineFacts
from bench.report.results import Results, Sample

FACTS = MachineFacts(
    cpu_model="Some CPU",
    cores=2,
    memory_bytes=8 << 30,
    is_virtual=True,
    kernel="6.1",
    python="3.11.7",
    measured_at="2026-01-01T00:00:00Z",
    load_average_1m=0.2,
)


def usage(cpu_ns, **others):
    values = {
        "elapsed_ns": 1_000_000_000,
        "cpu_ns_by_role": {"worker": cpu_ns},
        "voluntary_switches": 300,
        "involuntary_switches": 100,
        "pss_bytes": 64 << 20,
        "pss_bytes_before": 60 << 20,
        "pss_bytes_by_role": {},
        "processes": 2,
        "threads": 5,
        "processes_born": 0,
        "processes_ended": 0,
    }
    return TreeUsage(cpu_ns=cpu_ns, **{**values, **others})


def sample(server, round_index, *, requests, cpu_us, p50_us=100.0, scenario="json16_c16", **others):
    load = LoadResult(
        requests=requests,
        seconds=1.0,
        p50_us=p50_us,
        p90_us=p50_us,
        p99_us=p50_us * 2,
        max_us=p50_us * 3,
        bytes_read=0,
        errors=others.pop("errors", 0),
        error_kinds={},
        client_cpu_ns=requests * 9000,
    )
    return Sample(
        scenario=scenario,
        server=server,
        round_index=round_index,
        load=load,
        usage=usage(int(cpu_us * 1000 * requests)),
        foreign_share=others.pop("foreign_share", 0.0),
    )


def results(*samples, servers=("mpserve", "triton"), **others):
    values = {"failures": (), "remarks": (), "library_costs": (), "is_complete": True}
    return Results(
        machine=FACTS,
        servers=servers,
        scenarios=("json16_c16",),
        versions={},
        rounds=3,
        seconds=1,
        warmup_seconds=1,
        samples=samples,
        **{**values, **others},
    )
