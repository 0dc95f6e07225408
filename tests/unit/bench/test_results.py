"""Samples into medians, ratios, a table and a file."""

import msgspec
import pytest

from bench.errors import BenchError
from bench.measuring.machine import MachineReading, foreign_share
from bench.measuring.window import Window, merge
from bench.report.results import Failure, LibraryCost, Remark, read_results, write_results
from bench.report.summary import rows
from bench.report.table import duration, markdown
from tests.unit.bench.samples import results, sample, usage

DRIFTING = (
    # The machine gets slower by the round; the ratio stays.
    *(
        sample("mpserve", 0, requests=1000, cpu_us=10),
        sample("triton", 0, requests=100, cpu_us=100),
    ),
    *(sample("mpserve", 1, requests=500, cpu_us=20), sample("triton", 1, requests=50, cpu_us=200)),
    *(sample("mpserve", 2, requests=250, cpu_us=40), sample("triton", 2, requests=25, cpu_us=400)),
)


def test_ratios_are_taken_within_a_round_so_that_drift_cancels():
    mpserve, triton = rows(results(*DRIFTING))

    assert mpserve.ratios is None
    assert (triton.ratios.rate, triton.ratios.cpu, triton.ratios.p50) == (10, 10, 1)


def test_a_row_holds_medians_and_the_range_of_cpu():
    mpserve, _triton = rows(results(*DRIFTING))

    assert (mpserve.requests_per_second, mpserve.cpu_us) == (500, 20)
    assert (mpserve.cpu_us_low, mpserve.cpu_us_high) == (10, 40)
    assert mpserve.cpu_us_by_role == {"worker": 20}
    assert mpserve.client_cpu_us == 9


def test_a_round_that_one_side_lacks_gives_no_ratio():
    (triton,) = rows(results(sample("triton", 1, requests=10, cpu_us=1)))

    assert triton.ratios is None


def test_the_table_has_a_cell_for_each_column_and_names_what_went_wrong():
    text = markdown(
        results(
            *DRIFTING,
            sample("loopback", 0, requests=7, cpu_us=1, errors=3, foreign_share=0.5),
            servers=("mpserve", "triton", "loopback"),
            failures=(
                Failure(scenario="x", server="y", round_index=0, reason="first line\nsecond"),
            ),
            remarks=(Remark(server="triton", text="left 1 segments"),),
            library_costs=(
                LibraryCost(scenario="json16_c16", server="mpserve", cpu_us=5.0),
                LibraryCost(scenario="json16_c16", server="triton", cpu_us=50.0),
            ),
        )
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]

    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert "loopback (3 errors) *" in text
    assert "20.0 µs [10.0 µs to 40.0 µs]" in text
    assert "**x on y failed**: first line\n" in text + "\n"
    assert "triton left 1 segments" in text
    assert "50.0 µs of the CPU is the library's own predict, 150 µs the server's." in text
    assert "mpserve's is 0.10 of that." in text  # 15 of 150


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0.0, "0.00 µs"),
        (8.64, "8.64 µs"),
        (99.94, "99.9 µs"),
        (157.2, "157 µs"),
        (2140.0, "2.14 ms"),
        (1_334_000.0, "1.33 s"),
        (37_600_000.0, "37.6 s"),
    ],
)
def test_durations_have_three_digits(us, text):
    assert duration(us) == text


def test_results_come_back_from_their_file_as_they_were(tmp_path):
    kept = results(*DRIFTING)

    write_results(kept, tmp_path / "new folder" / "run.json")

    assert read_results(tmp_path / "new folder" / "run.json") == kept


@pytest.mark.parametrize("text", ["", "{}", "[1"], ids=["empty", "other", "broken"])
def test_a_file_without_results_is_refused_by_name(tmp_path, text):
    (tmp_path / "x.json").write_text(text)

    with pytest.raises(BenchError, match=r"x\.json holds no results"):
        read_results(tmp_path / "x.json")


def test_merged_windows_sum_what_was_used_and_keep_the_last_memory():
    merged = merge(
        [
            Window(usage=usage(10, pss_bytes=1), harness_cpu_ns=1, foreign_share=0.2),
            Window(
                usage=usage(30, elapsed_ns=3_000_000_000, pss_bytes=2),
                harness_cpu_ns=2,
                foreign_share=0.0,
            ),
        ]
    )

    assert merged.usage.cpu_ns == 40
    assert merged.usage.cpu_ns_by_role == {"worker": 40}
    assert merged.usage.pss_bytes == 2
    assert merged.harness_cpu_ns == 3
    assert merged.foreign_share == pytest.approx(0.05)


def test_the_share_of_others_is_what_no_one_of_us_used():
    before = MachineReading(at_ns=0, busy_ns=0, stolen_ns=0)
    after = MachineReading(at_ns=1000, busy_ns=1500, stolen_ns=100)

    assert foreign_share(before, after, own_cpu_ns=1200, cores=2) == pytest.approx(0.2)
    assert foreign_share(before, after, own_cpu_ns=5000, cores=2) == 0.0


def test_results_can_be_read_by_anything_that_reads_json():
    text = msgspec.json.encode(results(*DRIFTING))

    assert msgspec.json.decode(text)["samples"][0]["load"]["requests"] == 1000
