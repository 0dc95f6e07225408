"""Writing where somebody may not read."""

import os
import time

import pytest

from mpserve.telemetry.outlet import Outlet
from tests.fixtures.pace import within

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def fill(fd):
    """Leave no room in a pipe."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(fd, True)


def read_all(fd):
    os.set_blocking(fd, False)
    found = b""
    try:
        while True:
            found += os.read(fd, 1 << 16)
    except BlockingIOError:
        return found


def test_a_reader_that_stands_still_costs_the_patience_once(pipe):
    outlet = Outlet(pipe[1], patience_seconds=0.2)
    fill(pipe[1])
    begun = time.monotonic()
    for _ in range(100):
        outlet.write(LINE)
    assert 0.2 <= time.monotonic() - begun < within(4)  # 100 waits were 20 seconds
    assert outlet.take_lost_lines() == 0, "it can not be told"
    read_all(pipe[0])
    assert outlet.take_lost_lines() == 100
    assert outlet.take_lost_lines() == 0
    outlet.write(LINE)
    assert read_all(pipe[0]) == LINE


def test_a_text_larger_than_the_pipe_is_cut_and_what_follows_is_a_line_of_its_own(pipe):
    outlet = Outlet(pipe[1], patience_seconds=0.0)
    text = LINE * 10_000
    outlet.write(text)
    first = read_all(pipe[0])
    assert text.startswith(first)
    assert not first.endswith(b"\n"), "else this shows nothing"
    outlet.write(LINE)
    assert read_all(pipe[0]) == b"\n" + LINE
    assert outlet.take_lost_lines() == text.count(b"\n") - first.count(b"\n")


def test_a_text_larger_than_the_pipe_is_whole_when_it_is_read(pipe):
    outlet = Outlet(pipe[1], patience_seconds=10.0)
    text = LINE * 10_000
    child = os.fork()
    if child == 0:
        outlet.write(text)
        os._exit(outlet.take_lost_lines())
    found = b""
    while len(found) < len(text):
        found += os.read(pipe[0], 1 << 16)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert found == text


def test_a_file_takes_a_line_in_one_piece(tmp_path):
    with (tmp_path / "log").open("wb", buffering=0) as file:
        Outlet(file.fileno()).write(LINE * 1000)
    assert (tmp_path / "log").read_bytes() == LINE * 1000


def test_a_closed_end_loses_lines_and_raises_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    outlet = Outlet(writer)
    outlet.write(LINE)
    os.close(writer)
    outlet.write(LINE)
    assert outlet.take_lost_lines() == 2
