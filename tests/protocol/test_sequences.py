"""The sequence batcher as its clients see it: identity, slots, controls, errors, time-outs."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.fixtures.pace import within
from tests.fixtures.repository import Repository
from tests.fixtures.sequencer import ask, background, batching, busy, step, step_request, told
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

FOR_EVER_US = 3_600_000_000
SHORT_US = 300_000
OLDEST = "oldest { max_candidate_sequences: 2 }"

MODELS = {
    "direct": batching(),
    "pair": "instance_group { count: 2 } " + batching(),
    "single": "instance_group { count: 1 } " + batching(OLDEST),
    "short": batching("oldest { max_candidate_sequences: 1 }", idle_us=SHORT_US),
    "text": batching(corrid="TYPE_STRING"),
    "narrow": batching(corrid="TYPE_INT32"),
    "plain": "sequence_batching { max_sequence_idle_microseconds: 60000000 }",
    "patient": batching(
        f"direct {{ max_queue_delay_microseconds: {FOR_EVER_US} minimum_slot_utilization: 0.5 }}"
    ),
    "preferring": batching(
        f"oldest {{ max_candidate_sequences: 4 max_queue_delay_microseconds: {FOR_EVER_US}"
        " preferred_batch_size: 2 }"
    ),
}


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, gates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sequences")
    repository = Repository(folder / "models")
    for name, config in MODELS.items():
        repository.add("sequencer", name, config=config)
    with Server.serve(
        repository.path,
        log_path=folder / "log",
        flags=["--frontends=2"],
        environment={"SEQUENCER_GATES": str(gates)},
    ) as started:
        yield started


def refused(answer, status: int, text: str) -> None:
    assert (answer.status, answer.json()) == (status, {"error": text})


def rejected(server: Server, model: str) -> int:
    series = rf'nv_inference_request_failure{{model="{model}",reason="REJECTED",version="1"}} (\d+)'
    found = re.search(series, server.metrics())
    assert found
    return int(found[1])


# --- identity and order --------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", [7, 2**64 - 1, "seven", "7", "x" * 128])
def test_requests_of_one_id_are_one_sequence(server, sequence):
    assert step(server, "plain", sequence, 5, start=True).sum == 5
    assert step(server, "plain", sequence, 6).sum == 11
    last = step(server, "plain", sequence, 7, end=True)
    assert last.sum == 18
    assert last.rows[0]["id"] == sequence


def test_whoever_reads_a_request_it_is_of_the_same_sequence(server):
    assert step(server, "plain", 13, 5, start=True).sum == 5
    assert step(server, "plain", 13, 6, timeout=60_000_000).sum == 11  # Python reads this one
    assert step(server, "plain", 13, 7, end=True).sum == 18


def test_a_stream_carries_several_sequences(server):
    value, seconds = (
        triton_grpc.InferInput(name, [1, 1], datatype)
        for name, datatype in (("VALUE", "INT64"), ("SECONDS", "FP32"))
    )
    value.set_data_from_numpy(np.full((1, 1), 4, np.int64))
    seconds.set_data_from_numpy(np.zeros((1, 1), np.float32))
    answers: SimpleQueue = SimpleQueue()
    with triton_grpc.InferenceServerClient(server.grpc_address) as connection:
        connection.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(3):
            for sequence in (201, "two hundred"):
                connection.async_stream_infer(
                    "plain",
                    [value, seconds],
                    sequence_id=sequence,
                    sequence_start=number == 0,
                    sequence_end=number == 2,
                )
        told_in_order = [answers.get(timeout=within(10)) for _ in range(6)]
        connection.stop_stream()
    assert [error for _, error in told_in_order] == [None] * 6
    sums = [result.as_numpy("SUM").item() for result, _ in told_in_order]
    assert sums == [4, 4, 8, 8, 12, 12]


def test_start_and_end_in_one_request_are_a_whole_sequence(server):
    assert step(server, "plain", 8, 5, start=True, end=True).sum == 5
    assert ask(server, "plain", 8).status == 400


def test_the_model_sees_the_flags(server):
    flags = [
        step(server, "plain", 9, start=start, end=end).rows[0]["flags"]
        for start, end in ((True, False), (False, False), (False, True), (True, True))
    ]
    assert flags == [1, 0, 2, 3]


def test_a_sequence_stays_with_one_instance_from_whatever_frontend(server):
    pids = {}
    for sequence in range(1, 9):
        pids[sequence] = step(server, "pair", sequence, start=True).pid
    assert len(set(pids.values())) == 2  # both instances hold some
    for _ in range(6):  # each on a connection of its own, so that both frontends get some
        for sequence, pid in pids.items():
            assert step(server, "pair", sequence).pid == pid
    for sequence in pids:
        assert step(server, "pair", sequence, end=True).sum == 8


def test_a_second_start_begins_the_sequence_anew(server):
    assert step(server, "plain", 10, 5, start=True).sum == 5
    assert step(server, "plain", 10, 3, start=True).sum == 3
    assert step(server, "plain", 10, 1, end=True).sum == 4
    wait_until(lambda: "sequence.restarted" in server.log_text, what="the log to tell so")


@pytest.mark.parametrize("sequence", [101, "a hundred"])
def test_tritons_clients_send_sequences(server, sequence):
    for client, address in ((triton_grpc, server.grpc_address), (triton_http, server.address)):
        with client.InferenceServerClient(address) as connection:
            value, seconds = (
                client.InferInput(name, [1, 1], datatype)
                for name, datatype in (("VALUE", "INT64"), ("SECONDS", "FP32"))
            )
            value.set_data_from_numpy(np.full((1, 1), 4, np.int64))
            seconds.set_data_from_numpy(np.zeros((1, 1), np.float32))
            sums = [
                connection.infer(
                    "plain",
                    [value, seconds],
                    sequence_id=sequence,
                    sequence_start=number == 0,
                    sequence_end=number == 2,
                )
                .as_numpy("SUM")
                .item()
                for number in range(3)
            ]
            assert sums == [4, 8, 12]
            with pytest.raises(InferenceServerException, match="must specify the START flag"):
                connection.infer("plain", [value, seconds], sequence_id=sequence)


# --- what is refused -----------------------------------------------------------------------------


def test_a_request_without_an_id_is_refused(server):
    text = "inference request to model 'plain' must specify a non-zero or non-empty correlation ID"
    for sequence in (None, 0, ""):
        refused(ask(server, "plain", sequence, start=True), 400, text)


def test_a_request_with_several_rows_is_refused(server):
    text = (
        "inference request to model 'plain' must specify batch-size 1 due to requirements of "
        "sequence batcher"
    )
    refused(ask(server, "plain", 11, start=True, batch=2), 400, text)


@pytest.mark.parametrize("sequence", [12, "twelve"])
def test_a_sequence_that_was_not_started_is_refused(server, sequence):
    text = (
        f"inference request for sequence {sequence} to model 'plain' must specify the START flag "
        "on the first request of the sequence"
    )
    before = rejected(server, "plain")
    refused(ask(server, "plain", sequence), 400, text)
    refused(ask(server, "plain", sequence, end=True), 400, text)
    wait_until(lambda: rejected(server, "plain") == before + 2, what="the refusals")


def test_a_text_that_is_too_long_is_refused(server):
    text = "string correlation ID cannot be longer than 128 characters"
    refused(ask(server, "plain", "x" * 129, start=True), 501, text)


@pytest.mark.parametrize(
    ("model", "sequence", "given", "wanted"),
    [
        ("direct", "word", "BYTES", "UINT64"),
        ("narrow", "word", "BYTES", "INT32"),
        ("text", 5, "UINT64", "BYTES"),
    ],
)
def test_an_id_of_the_wrong_kind_is_refused(server, model, sequence, given, wanted):
    text = (
        f"[request id: <id_unknown>] sequence batching control 'CORRID' data-type is '{given}', "
        f"but model '{model}' expects '{wanted}'"
    )
    refused(ask(server, model, sequence, start=True), 400, text)


# --- controls and batches ------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "sequence"), [("direct", 77), ("text", "a b"), ("narrow", 77)])
def test_controls_are_inputs_of_the_model(server, model, sequence):
    rows = [
        step(server, model, sequence, start=True).rows,
        step(server, model, sequence).rows,
        step(server, model, sequence, end=True).rows,
    ]
    seen = [(row[-1]["START"], row[-1]["END"], row[-1]["READY"], row[-1]["CORRID"]) for row in rows]
    assert seen == [
        (1.0, 0, True, sequence),
        (0.0, 0, True, sequence),
        (0.0, 1, True, sequence),
    ]
    assert rows[0][-1]["START_SHAPE"] == rows[0][-1]["CORRID_SHAPE"] == [1, 1]


def test_a_number_is_cut_to_the_width_of_its_control(server):
    row = step(server, "narrow", 2**32 + 5, start=True, end=True).rows[0]
    assert (row["CORRID"], row["id"]) == (5, 2**32 + 5)


def test_each_sequence_has_its_row_and_rows_without_a_request_are_not_ready(server):
    with contextlib.ExitStack() as ends:
        for sequence in (21, 22, 23):
            step(server, "direct", sequence, start=True)
            ends.callback(step, server, "direct", sequence, end=True)
        rows = step(server, "direct", 23).rows
        assert [row["READY"] for row in rows] == [False, False, True]
        assert [row["CORRID"] for row in rows] == [0, 0, 23]
        assert [(row["id"], row["flags"], row["START"]) for row in rows[:2]] == [(0, 0, 0.0)] * 2


def test_a_row_without_a_request_is_nobodys(server):
    with contextlib.ExitStack() as ends:
        for sequence in (24, 25):
            step(server, "direct", sequence, start=True)
            ends.callback(step, server, "direct", sequence, end=True)
        request = step_request(25, timeout=60_000_000, mine="secret")
        rows = told(server.infer("direct", {**request, "id": "seven"})).rows
        assert rows[1]["told"] == ["seven", '{"mine":"secret"}', 60_000_000]
        assert rows[0]["told"] == ["", "{}", 0]


def test_rows_of_a_direct_batch_are_executed_together(server, gates):
    with contextlib.ExitStack() as ends:
        for sequence in (31, 32, 33):
            step(server, "direct", sequence, start=True)
            ends.callback(step, server, "direct", sequence, end=True)
        with busy(server, gates, "direct", 34) as held:
            ends.callback(step, server, "direct", 34, end=True)
            requests = [step_request(sequence) for sequence in (33, 31)]
            with background(server, "direct", *requests) as answers:
                held.let_go()
                third, first = (told(answer.result()) for answer in answers)
        assert [row["CORRID"] for row in third.rows] == [31, 0, 33]
        assert third.rows == first.rows


def test_the_oldest_requests_of_different_sequences_are_batched(server, gates):
    with contextlib.ExitStack() as ends:
        step(server, "single", 42, start=True)
        ends.callback(step, server, "single", 42, end=True)
        with busy(server, gates, "single", 41) as held:
            ends.callback(step, server, "single", 41, end=True)
            requests = [step_request(sequence) for sequence in (42, 42, 41)]
            with background(server, "single", *requests) as answers:
                held.let_go()
                first, second, other = (told(answer.result()) for answer in answers)
        assert [row["CORRID"] for row in first.rows] == [42, 41]
        assert first.rows == other.rows
        assert [row["CORRID"] for row in second.rows] == [42]


def test_a_direct_batch_waits_for_enough_slots(server):
    requests = [step_request(sequence, start=True, end=True) for sequence in (51, 52)]
    with background(server, "patient", *requests[:1]) as first:
        second = told(server.infer("patient", requests[1]))
        assert [row["CORRID"] for row in second.rows] == [51, 52]
        assert told(first[0].result()).rows == second.rows


def test_an_oldest_batch_waits_for_its_preferred_size(server):
    requests = [step_request(sequence, start=True, end=True) for sequence in (53, 54)]
    with background(server, "preferring", *requests[:1]) as first:
        second = told(server.infer("preferring", requests[1]))
        assert [row["CORRID"] for row in second.rows] == [53, 54]
        assert told(first[0].result()).rows == second.rows


# --- slots, backlog, time-outs -------------------------------------------------------------------


def test_a_sequence_waits_until_a_slot_is_free(server):
    for sequence in (61, 62):
        step(server, "single", sequence, start=True)
    waiting = [step_request(63, 5, start=True), step_request(63, 6), step_request(64, start=True)]
    with background(server, "single", *waiting) as (first, second, other):
        assert not first.done()
        assert step(server, "single", 61).sum == 2  # who has a slot goes on
        step(server, "single", 61, end=True)
        assert (told(first.result()).sum, told(second.result()).sum) == (5, 11)
        assert not other.done()
        step(server, "single", 63, end=True)
        assert told(other.result()).sum == 1
    for sequence in (62, 64):
        step(server, "single", sequence, end=True)


def test_an_idle_sequence_is_let_go_and_the_next_has_its_slot(server):
    step(server, "short", 71, start=True)
    assert step(server, "short", 72, start=True, end=True).sum == 1  # came from the backlog
    text = (
        "inference request for sequence 71 to model 'short' must specify the START flag on the "
        "first request of the sequence"
    )
    refused(ask(server, "short", 71), 400, text)


def test_a_request_may_wait_for_a_slot_no_longer_than_its_timeout(server, gates):
    before = rejected(server, "short")
    late = step_request(74, start=True, timeout=20_000)
    with (
        busy(server, gates, "short", 73) as held,
        background(server, "short", late) as (answer,),
    ):
        held.let_go()
        text = "timeout of the corresponding sequence has been expired"
        refused(answer.result(), 503, text)
    wait_until(lambda: rejected(server, "short") == before + 1, what="the refusal")
    assert ask(server, "short", 74).status == 400


def test_a_client_that_leaves_ends_its_sequence(server, gates):
    with (
        busy(server, gates, "pair", 81) as held,
        background(server, "pair", step_request(81)) as (other,),
    ):
        held.hang_up()  # the other instance, which is idle, answers what waits
        text = "another request of the sequence was cancelled, which ended it"
        refused(other.result(), 400, text)
        assert ask(server, "pair", 81).status == 400


def test_statistics_count_rows_of_requests_only(server):
    def counted():
        (row,) = server.get("/v2/models/direct/stats").json()["model_stats"]
        return row["inference_count"], row["execution_count"]

    before = counted()
    for sequence in (91, 92):
        step(server, "direct", sequence, start=True)
    step(server, "direct", 92, end=True)  # with a row that is not ready
    step(server, "direct", 91, end=True)
    wait_until(
        lambda: counted() == (before[0] + 4, before[1] + 4), what="the counts of four requests"
    )
