"""Processor and memory of the machine, read from texts as the kernel writes them."""

import os

import pytest

from mpserve.telemetry.machine import (
    MachineGauge,
    ProcessorTime,
    read_memory,
    read_processor_time,
    resident_bytes,
    utilization,
)

STAT = "cpu  100 5 30 800 60 2 3 0 50 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"


def test_idle_and_waiting_are_not_busy_and_guests_not_counted_twice():
    assert read_processor_time(STAT) == ProcessorTime(busy=140, total=1000)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [((0, 0), (50, 100), 0.5), ((10, 100), (10, 100), 0.0), ((20, 100), (10, 200), 0.0),
     ((0, 100), (100, 200), 1.0)],
)  # fmt: skip
def test_utilization_is_the_share_of_busy_ticks_in_between(before, after, share):
    first, second = (ProcessorTime(busy=one[0], total=one[1]) for one in (before, after))
    assert utilization(first, second) == share


def test_memory_is_told_in_bytes():
    text = "MemTotal:       16 kB\nMemAvailable:   4 kB\nHugePages_Total: 0\n"
    assert read_memory(text) == {"MemTotal": 16384, "MemAvailable": 4096, "HugePages_Total": 0}


def test_one_look_is_told_again_until_the_interval_is_over():
    now_ns = 0
    gauge = MachineGauge(interval_ns=100, now_ns=lambda: now_ns)
    first = gauge.look()
    assert 0 < first.memory_used_bytes < first.memory_total_bytes
    assert 0.0 <= first.processor_utilization <= 1.0
    now_ns = 99
    assert gauge.look() is first
    now_ns = 100
    assert gauge.look() is not first


def test_a_process_has_memory_until_it_is_gone():
    assert resident_bytes(os.getpid(), page_bytes=4096) > 1 << 20
    assert resident_bytes(1 << 22, page_bytes=4096) is None
