"""A whole run: what has to be there, the servers installed, all turns taken, results made."""

from collections.abc import Callable, Sequence

from bench.installation import install_peers
from bench.loading import closed_loop
from bench.loading.payload import Encoding
from bench.measuring.bytecode import compile_bytecode
from bench.measuring.leftovers import sweep
from bench.measuring.machine import read_facts
from bench.measuring.rounds import Plan, Turn, carry_out
from bench.peers import PEERS
from bench.peers.mpserve import Mpserve
from bench.report.results import Results
from bench.scenarios import SCENARIOS
from bench.workshop import clear_scratch, lock


def run(plan: Plan, wanted: Sequence[Turn], *, tell: Callable[[str], None]) -> Results:
    """Take the turns `wanted` of `plan`, those of servers that cannot be installed left out.

    Raises
    ------
    MissingTool
        A load generator is not installed.
    BenchError
        Another run is measuring in this work tree.
    """
    _require_generators(wanted)
    with lock():
        sweep(tell)
        clear_scratch()
        bytecode = compile_bytecode(Mpserve().python)
        tell(bytecode)
        facts = read_facts()
        failures = install_peers(plan.servers, tell=tell)
        missing = {failure.server for failure in failures}
        possible = tuple(turn for turn in wanted if turn.server not in missing)
        taken = carry_out(possible, pace=plan.pace, tell=tell)
    return Results(
        machine=facts,
        servers=plan.servers,
        scenarios=plan.scenarios,
        versions={name: PEERS[name].version() for name in plan.servers if name not in missing},
        bytecode=bytecode,
        rounds=plan.rounds,
        seconds=plan.pace.seconds,
        warmup_seconds=plan.pace.warmup_seconds,
        samples=taken.samples,
        failures=(*failures, *taken.failures),
        remarks=taken.remarks,
        library_costs=taken.library_costs,
        is_complete=taken.is_complete,
    )


def _require_generators(wanted: Sequence[Turn]) -> None:
    encodings = {
        kind
        for turn in wanted
        for server, kind in SCENARIOS[turn.scenario].encodings.items()
        if server == turn.server
    }
    closed_loop.require("wrk", *(("h2load", "nghttp") if Encoding.GRPC in encodings else ()))
