import os
import sys
import time

import psutil
import pytest

from mpserve.telemetry.own_process import own_process_families, read_boot_seconds, read_stat

STAT = "7 (a (b) c) S " + " ".join(str(number) for number in range(4, 53))


@pytest.fixture
def families():
    return {family.name: family for family in own_process_families()}


def only(family):
    (sample,) = family.samples
    return sample.value


def test_a_line_of_a_process_is_read_past_its_name():
    times = read_stat(STAT)
    assert (times.processor_ticks, times.started_ticks) == (14 + 15, 22)
    assert (times.virtual_bytes, times.resident_pages) == (23, 24)


def test_the_boot_time_is_found_among_other_lines():
    assert read_boot_seconds("cpu 1 2\nintr 3\nbtime 1700000000\nprocesses 4\n") == 1700000000


def test_this_process_is_told_as_it_is(families):
    known = psutil.Process()
    started = only(families["process_start_time_seconds"])
    assert started == pytest.approx(known.create_time(), abs=2)
    assert started < time.time()
    assert only(families["process_resident_memory_bytes"]) == pytest.approx(
        known.memory_info().rss, rel=0.2
    )
    assert 0 < only(families["process_cpu_seconds_total"]) < 100_000
    assert 0 < only(families["process_open_fds"]) < only(families["process_max_fds"])
    assert only(families["process_virtual_memory_bytes"]) > os.sysconf("SC_PAGE_SIZE")


def test_python_is_told_as_the_client_library_does(families):
    (sample,) = families["python_info"].samples
    assert sample.labels["version"] == ".".join(map(str, sys.version_info[:3]))
    generations = [sample.labels for sample in families["python_gc_collections_total"].samples]
    assert generations == [{"generation": str(number)} for number in range(3)]
