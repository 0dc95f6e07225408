"""Batches, queues, sequences, ensembles and resources: Triton and mpserve do alike.

Each story is told to both servers; what the models saw and what the clients were answered is the
same, but for what is listed.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import grpc
import numpy as np
import pytest

from bench.peers.peer import Control
from bench.peers.triton import Triton
from tests.differential.peers import Pair, running
from tests.differential.scheduling_models import (
    CORRELATIONS,
    ENSEMBLES,
    FIRST,
    VALUES,
    write_ensembles,
    write_models,
)
from tests.differential.scheduling_stage import Stage, pause
from tests.differential.test_metrics import with_metrics
from tests.fixtures.closed_loop import Connection, post_bytes
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.server import Server

FLAGS = ("--load-model=*", "--rate-limit=execution_count")
DIFFERENCES: Final = {
    "growing": "a batch for a busy instance grows on in Triton; here it is made when one is free",
    "ordered": "an instance that is done early waits here, and goes on there",
    "leaving": "2.51 does not look whether an HTTP client is there",
    "optional_input": "the missing input is named, where Triton speaks of a deadlock",
    "optional_chain": "likewise",
}
Story = Callable[[Stage], Any]


# --- queues and batches --------------------------------------------------------------------------


def in_a_row(model: str, **requests: dict[str, Any]) -> Story:
    """Return the story of requests that wait behind one that holds the instance."""

    def told(stage: Stage) -> Any:
        with stage.held(model) as held:
            waiting = [stage.queue(model, name, **marks) for name, marks in requests.items()]
        return [one.answer() for one in (held, *waiting)], stage.batches()

    return told


def late(stage: Stage) -> Any:
    with stage.held("late") as held:
        asked = [stage.queue("late", f"late {level}", priority=level) for level in (1, 2)]
        pause(2.6)
        asked += [stage.queue("late", f"in time {level}", priority=level) for level in (1, 2)]
    return [one.answer()[0] for one in (held, *asked)], stage.batches()


def limited(stage: Stage) -> Any:
    with stage.held("limited") as held:
        waiting = [stage.queue("limited", f"{number}") for number in range(3)]
        refused = stage.ask("limited", "one too many")
    return refused, [one.answer() for one in (held, *waiting)], stage.batches()


def overridden(stage: Stage) -> Any:
    times = {"none": 0, "long": 60_000_000, "short": 1_500_000}
    told = []
    for seconds in (2.0, 6.5):  # past the short one; past the default, too
        stage.clear()
        with stage.held("override") as held:
            asked = [stage.queue("override", name, timeout=us) for name, us in times.items()]
            pause(seconds)
        told.append([one.answer() for one in (held, *asked)])
    return told


def ordered(stage: Stage) -> Any:
    with stage.held("ordered") as held:
        asked = [stage.send("ordered", name) for name in ("first", "second")]
        early = [one.is_answered() for one in asked]
        begun = len(stage.batches())
    return early, begun, [one.answer() for one in (held, *asked)]


def leaving(stage: Stage) -> Any:
    with stage.held("limited") as held:
        gone, stays = (stage.queue("limited", name) for name in ("gone", "stays"))
        gone.leave()
        pause(0.3)
    return [one.answer() for one in (held, stays)], stage.batches()


def shared_resource(stage: Stage) -> Any:
    with stage.held("lane_a") as held:
        other = stage.send("lane_b", "other")
        early = other.is_answered()
        begun = [note[0] for note in stage.notes() if note[1] == "begin"]
    return early, begun, held.answer(), other.answer()


def weights(stage: Stage) -> Any:
    with stage.held("lane_a") as held:
        asked = [stage.send(model) for _ in range(4) for model in ("often", "seldom")]
        pause(0.3)
    answers = [one.answer()[0] for one in (held, *asked)]
    order = [note[0] for note in stage.notes() if note[1] == "begin"][1:]
    seldom, often = (
        [at for at, one in enumerate(order) if one == name] for name in ("seldom", "often")
    )
    return answers, seldom[1] > often[2], sorted(order)


# --- sequences -----------------------------------------------------------------------------------


def marks(text: str) -> dict[str, bool]:
    return {f"sequence_{mark}": True for mark in text.split()}


def more_than_slots(model: str, stage: Stage) -> Any:
    begun = [stage.ask(model, f"{n} begins", sequence_id=n, **marks("start")) for n in (1, 2)]
    waiting = [stage.send(model, "3 begins", sequence_id=3, **marks("start"))]
    pause(0.2)  # the next must not come before it
    waiting.append(stage.send(model, "3 goes on", value=5, sequence_id=3))
    early = [one.is_answered() for one in waiting]
    begun += [stage.ask(model, "2 goes on", sequence_id=2)]
    begun += [stage.ask(model, "1 ends", sequence_id=1, **marks("end"))]
    begun += [one.answer() for one in waiting]
    begun += [stage.ask(model, f"{n} ends", sequence_id=n, **marks("end")) for n in (3, 2)]
    return early, begun, stage.rows()


def identities(model: str, stage: Stage) -> Any:
    requests: list[dict[str, Any]] = [
        {"sequence_id": 9}, {"sequence_id": 9, **marks("end")}, {},
        {"sequence_id": 0, **marks("start")}, {"sequence_id": "", **marks("start")},
        {"sequence_id": 9, **marks("start")}, {"sequence_id": 9, **marks("start")},
        {"sequence_id": 9, **marks("end")}, {"sequence_id": 9},
        {"sequence_id": 9, **marks("start end")}, {"sequence_id": 2**64 - 1, **marks("start end")},
        {"sequence_id": "word", **marks("start")}, {"sequence_id": "word"},
        {"sequence_id": "word", **marks("end")}, {"sequence_id": "word"},
        {"sequence_id": "x" * 128, **marks("start end")},
        {"sequence_id": "x" * 129, **marks("start")},
        {"sequence_id": -1}, {"sequence_id": 1.5}, {"sequence_id": 5, "sequence_start": 1},
        {"sequence_id": 5, "sequence_start": "true"},
    ]  # fmt: skip
    answers = [stage.ask(model, str(at), **one) for at, one in enumerate(requests)]
    seen = [
        (row["id"], row["correlation"], row["flags"]) for batch in stage.rows() for row in batch
    ]
    return answers, [one for one in seen if one[0]]


def controls(model: str, stage: Stage) -> Any:
    requests = {
        "begin": marks("start"),
        "go on": {},
        "end": marks("end"),
        "all": marks("start end"),
    }
    number = 2**32 + 5  # more than half of the datatypes hold
    answers = [stage.ask(model, name, sequence_id=number, **one) for name, one in requests.items()]
    rows = [[row for row in batch if row["id"]] for batch in stage.rows()]
    return answers, rows


# --- ensembles and streams -----------------------------------------------------------------------


def ensemble(name: str, stage: Stage) -> Any:
    loaded = stage.http("POST", f"/v2/repository/models/{name}/load", {})
    if loaded[0] != "200":
        return loaded
    config = stage.http("GET", f"/v2/models/{name}/config")[1]
    answers = []
    declared = "".join(one for one in "XM" if f'"{one}"' in ENSEMBLES[name][0])
    for inputs in {"X": ("X", ""), "XM": ("X", "XM", "M", ""), "M": ("M", "")}[declared]:
        tensors = [{"name": one, "datatype": "INT32", "shape": [1], "data": [5]} for one in inputs]
        for given in ({}, {"sequence_id": 7, **marks("start")}, {"sequence_id": 7, **marks("end")}):
            body = {"id": "q", "parameters": given, "inputs": tensors}
            answers.append(stage.http("POST", f"/v2/models/{name}/infer", body))
    return config["model_transaction_policy"], answers, stage.rows()


def lost_stream(stage: Stage) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{stage.pair.grpc_port}") as channel:
        calls = Calls(channel)
        tensor = {"name": "VALUE", "datatype": "INT32", "shape": [1]}
        message = calls.infer_request("stream", tensor, raw=(np.zeros(1, np.int32).tobytes(),))
        answers = calls.stream(iter([message]))
        assert not next(answers).error_message
        answers.cancel()
        return stage.wait_for_note("cancelled")


def lost_events(stage: Stage) -> Any:
    connection = Connection(stage.server)
    connection.socket.sendall(post_bytes("/v2/models/stream/generate_stream", {"VALUE": [0]}))
    assert connection.socket.recv(10)
    connection.close()
    return stage.wait_for_note("cancelled")


# --- both ----------------------------------------------------------------------------------------

SEVEN: Final = {f"r{number}": {} for number in range(7)}
STORIES: Final[dict[str, Story]] = {
    "preferring": in_a_row("preferring", **SEVEN),
    "growing": in_a_row("growing", **SEVEN),
    "levels": in_a_row(
        "levels",
        **{"3": {"priority": 3}, "2": {"priority": 2}, "1": {"priority": 1}, "no": {}},
        **{"0": {"priority": 0}, "4": {"priority": 4}, "1 again": {"priority": 1}},
    ),
    "late": late,
    "limited": limited,
    "overridden": overridden,
    "ordered": ordered,
    "leaving": leaving,
    "shared resource": shared_resource,
    "weights": weights,
    "lost stream": lost_stream,
    "lost events": lost_events,
    **{f"few {name}": partial(more_than_slots, f"few_{name}") for name in ("direct", "oldest")},
    **{f"ids {name}": partial(identities, f"plain_{name}") for name in ("direct", "oldest")},
    **{
        f"controls {name}_{rows}": partial(controls, f"{name}_{rows}")
        for rows in (0, 4)
        for name in (
            *(f"flags_{one}" for one in VALUES),
            *(f"corrid_{one}" for one in CORRELATIONS),
        )
    },
    **{f"state {name}": partial(controls, f"state_{name}") for name in FIRST},
    **{name: partial(ensemble, name) for name in ENSEMBLES},
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Stage]]:
    folder = tmp_path_factory.mktemp("scheduling")
    notes = [folder / f"notes {name}" for name in ("theirs", "ours")]
    first, second = (write_models(folder / one.name[6:], one) for one in notes)
    with (
        running(
            Triton(), first, folder, control=Control.EXPLICIT, more=FLAGS, adapt=with_metrics
        ) as theirs,
        Server.serve(
            second, flags=["--model-control-mode=explicit", *FLAGS], log_path=folder / "ours.log"
        ) as own,
    ):
        for root in (first, second):
            write_ensembles(root)
        pair = Pair(own.port, own.grpc_port, own.metrics_port)
        yield Stage(theirs, notes[0]), Stage(pair, notes[1])


@pytest.mark.parametrize("name", STORIES)
def test_both_do_alike(stages, name):
    told = []
    for stage in stages:
        stage.clear()
        told.append(json.loads(json.dumps(STORIES[name](stage))))
    theirs, ours = told
    if name in DIFFERENCES:
        assert ours != theirs, "listed, but alike"
    else:
        assert ours == theirs
