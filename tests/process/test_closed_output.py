"""A server whose output nobody reads any more still obeys."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.fixtures.pace import within
from tests.fixtures.ports import free_ports
from tests.fixtures.scripted import post_script, run_script
from tests.fixtures.waiting import wait_until


def test_sigterm_ends_a_server_whose_output_pipe_is_broken(tmp_path):
    http, grpc, metrics = free_ports(3)
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mpserve", "serve", f"--model-repository={tmp_path}"),
            *("--http-address=127.0.0.1", "--grpc-address=127.0.0.1"),
            *(f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"),
        ],
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    os.close(read_end)
    try:
        url = f"http://127.0.0.1:{http}/v2/health/ready"
        wait_until(
            lambda: urllib.request.urlopen(url, timeout=5).status == 200,
            deadline=within(20),
            what="the server to be ready",
        )
        server.send_signal(signal.SIGTERM)
        assert server.wait(within(20)) == 0
    finally:
        server.kill()
        server.wait()


CLOSED = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
PRINT = """
import sys
for stream in (sys.stdout, sys.stderr):
    stream.write("x" * 100_000)
    stream.flush()
return 7
"""


def standard_files(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in range(3)}


def test_a_server_without_standard_streams_has_none_of_its_own_in_their_place(
    serve, repository, tmp_path
):
    """What prints there would write into a socket or a segment."""
    repository.add("scripted", "m")
    log = tmp_path / "log"
    server = serve(repository.path, flags=[f"--log-file={log}"], prefix=CLOSED)
    assert run_script(server, "m", PRINT) == 7
    expected = {"/dev/null", str(log)}

    def have_no_others() -> bool:
        for process in server.processes():  # one that waits to be a worker may end meanwhile
            others = {one for one in standard_files(process.pid) if not one.startswith("pipe:")}
            assert others <= expected, process  # a pipe is a child's standard error
        return True

    wait_until(have_no_others)
    server.process_named("mps supervisor").kill()
    wait_until(lambda: server.index()[0]["state"] == "READY")
    assert run_script(server, "m", PRINT) == 7
    assert server.stop() == 0


def test_what_a_model_prints_on_a_full_disk_is_lost_and_fails_no_request(serve, repository):
    repository.add("scripted", "m")
    onto = 'exec "$@" >/dev/full 2>/dev/full'
    server = serve(repository.path, prefix=["sh", "-c", onto, "sh"])
    for _ in range(3):
        assert run_script(server, "m", PRINT) == 7


def test_what_a_model_prints_is_seen_line_by_line(serve, repository):
    """Though a log is no terminal."""
    repository.add("scripted", "m")
    server = serve(repository.path)
    run_script(server, "m", 'print("seen while it serves")')
    wait_until(lambda: "seen while it serves" in server.log_text)


PRINT_MUCH = """
import sys
for stream in (sys.stderr, sys.stdout):
    for number in range(5000):
        stream.write("x" * 99 + "\\n")
    stream.flush()
return 7
"""


@pytest.fixture
def unread(tmp_path):
    """A pipe, as a path, that somebody has opened and does not read."""
    path = tmp_path / "unread"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


def read_pieces(reader: int) -> bytes:
    """What lies in a pipe now."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reader, 1 << 16):
            found += piece
    return found


@pytest.mark.parametrize("way", ["standard streams", "--log-file"])
def test_a_log_that_nobody_reads_stops_nobody(serve, repository, unread, way):
    """As of a container whose log driver hangs, or of a terminal that is held."""
    path, reader = unread
    repository.add("scripted", "m")
    onto = ["sh", "-c", f'exec "$@" >{path} 2>{path}', "sh"]
    by_flag = ["--model-control-mode=explicit", "--load-model=*", "--log-verbose=1"]
    if way == "--log-file":
        by_flag.append(f"--log-file={path}")
    server = serve(repository.path, flags=by_flag, prefix=onto if way != "--log-file" else [])
    before = {process.pid for process in server.processes_named("mps supervisor")}
    for _ in range(3):
        assert run_script(server, "m", PRINT_MUCH) == 7
    begun = time.monotonic()
    for _ in range(20):
        assert server.post("/v2/repository/models/m/load", {}).status == 200
        assert server.index()[0]["state"] == "READY"
        assert run_script(server, "m", "return 7") == 7
    assert time.monotonic() - begun < within(20)
    assert {process.pid for process in server.processes_named("mps supervisor")} == before

    numbers = itertools.count()

    def is_told() -> bool:
        """With the next line; one that was there before would be held back for some seconds."""
        server.post(f"/v2/repository/models/no-{next(numbers)}/load", {})
        return b"lines.lost" in read_pieces(reader)

    wait_until(is_told, deadline=within(10))
    server.process.terminate()
    assert server.wait_exit() == 0


def test_a_pipe_without_a_reader_is_no_log(serve, repository, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    server = serve(repository.path, flags=[f"--log-file={pipe}"], wait_ready=False)
    server.expected_exit_code = None
    assert server.wait_exit() == 1
    assert f"--log-file '{pipe}': nobody reads this pipe" in server.log_text


@pytest.mark.parametrize("kind", ["full", "broken"])
def test_a_reason_that_nobody_can_read_is_no_reason_to_stay(serve, repository, tmp_path, kind):
    """The last word of a server that has to cut a request off."""
    repository.add("scripted", "m")
    asked = tmp_path / "asked"
    onto = Path("/dev/full") if kind == "full" else tmp_path / "pipe"
    if kind == "broken":
        os.mkfifo(onto)
    reader = os.open(onto, os.O_RDONLY | os.O_NONBLOCK)
    server = serve(
        repository.path,
        flags=["--exit-timeout-secs=1"],
        prefix=["sh", "-c", f'exec "$@" >{onto} 2>{onto}', "sh"],
    )
    os.close(reader)

    def ask() -> None:
        with contextlib.suppress(OSError):
            post_script(server, "m", f"open({str(asked)!r}, 'w').close(); time.sleep(60)")

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(asked.exists)
    server.expected_exit_code = 1
    server.process.terminate()
    assert server.wait_exit() == 1
    asking.join()
