"""How a server ends: by signals, with requests and loads under way, within its time."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import within
from tests.fixtures.teller import in_flight, teller_bytes
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
AT_ONCE_SECONDS = within(2)


def pids(server, title):
    return [process.pid for process in server.processes_named(title)]


def test_a_signal_to_the_whole_group_lets_requests_in_flight_finish(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    with in_flight(server, "a") as request:
        os.killpg(server.pid, signal.SIGTERM)
        wait_until(lambda: "Signal (15) received." in server.log_text)
        request.let_go()
        assert request.result.status == 200
    assert server.wait_exit() == 0


def test_a_request_beyond_the_exit_timeout_is_cut_off_with_exit_code_1(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=["--exit-timeout-secs=1"])
    server.expected_exit_code = None
    with in_flight(server, "a", seconds=30):
        assert server.stop() == 1
    assert "Exit timeout expired. Exiting immediately." in server.log_text


def test_a_second_signal_ends_the_server_at_once(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    server.expected_exit_code = None
    with in_flight(server, "a", seconds=30):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Signal (15) received." in server.log_text)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 1
        assert time.monotonic() - begun < AT_ONCE_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_long_load_ends_the_server_in_order(serve, repository, number):
    repository.add("teller", "a", parameters={"load_seconds": "60"})
    server = serve(repository.path, wait_ready=False)
    wait_until(lambda: pids(server, "mps:a"), what="a worker that loads")
    begun = time.monotonic()
    server.process.send_signal(number)
    assert server.wait_exit() == 0
    assert time.monotonic() - begun < AT_ONCE_SECONDS


def test_an_idle_server_ends_with_0_and_says_which_signal_it_got(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    assert server.stop() == 0
    assert "Signal (15) received." in server.log_text


@pytest.mark.parametrize("frontends", [1, 2])
def test_clients_that_never_pause_delay_no_end_and_get_no_error(serve, repository, frontends):
    """Each request that was taken is answered well; after that the connection is closed."""
    repository.add("teller", "a")
    server = serve(repository.path, flags=[f"--frontends={frontends}"])
    with ClosedLoop(server, teller_bytes("a", seconds=0.005), clients=8) as load:
        load.wait_answered(by_each=3)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < AT_ONCE_SECONDS
    assert {outcome.status for outcome in load.outcomes} <= {200, 0}
    refused = {outcome.body.split(b"(")[0] for outcome in load.failed}
    assert refused <= {b"ConnectionResetError", b"ConnectionRefusedError", b"BrokenPipeError"}


def test_requests_that_have_begun_are_answered_before_the_end(serve, repository):
    """Also one whose head comes when the server has begun to end, and its body later."""
    repository.add("teller", "a")
    server = serve(repository.path)
    head, blank, body = teller_bytes("a").partition(b"\r\n\r\n")
    with connected(server) as idle, connected(server) as begun, connected(server) as fresh:
        begun.sendall(head + blank + body[:5])
        idle.sendall(head + blank + body)
        assert b"200 OK" in idle.recv(RECEIVED_BYTES)
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(RECEIVED_BYTES) == b"", "it has begun to end"
        fresh.sendall(head + blank)
        begun.sendall(body[5:])
        assert is_last_answer(begun)
        fresh.sendall(body)
        assert is_last_answer(fresh)
    assert server.wait_exit() == 0


def test_clients_that_go_on_asking_are_told_before_their_connection_ends(serve, repository):
    """Each has his last answer, with `Connection: close`: no request meets a closed connection."""
    repository.add("teller", "a")
    server = serve(repository.path)
    request, asking = teller_bytes("a"), threading.Barrier(CLIENTS + 1)

    def ask_until_told(connection):
        asking.wait(within(10))
        while True:
            connection.sendall(request)
            answer = connection.recv(RECEIVED_BYTES)
            if not answer or b"Connection: close" in answer:
                return answer
            time.sleep(THINKING_SECONDS)

    with ExitStack() as clients, ThreadPoolExecutor(CLIENTS) as threads:
        connections = [clients.enter_context(connected(server)) for _ in range(CLIENTS)]
        last = [threads.submit(ask_until_told, connection) for connection in connections]
        asking.wait(within(10))
        assert server.stop() == 0
        assert all(one.result(within(10)).startswith(b"HTTP/1.1 200 OK") for one in last)


CLIENTS = 8
THINKING_SECONDS = 0.005
RECEIVED_BYTES = 1 << 16


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=within(10))


def is_last_answer(connection):
    """Whether a request was answered, and the connection closed behind it."""
    answer = b"".join(iter(lambda: connection.recv(RECEIVED_BYTES), b""))
    return answer.startswith(b"HTTP/1.1 200 OK") and b"Connection: close" in answer
