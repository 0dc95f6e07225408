"""What the environment says of the service manager."""

import contextlib
import os
import socket

import pytest

from mpserve.supervisor.service_manager import LentSockets, ServiceManager

PID = 7


def test_without_one_nothing_is_told():
    manager = ServiceManager.of({}, pid=PID)
    manager.tell("READY=1")
    manager.beat()
    assert manager.lent == LentSockets()


def test_its_variables_are_taken_out():
    environ = {
        "NOTIFY_SOCKET": "/nowhere",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": str(PID),
        "LISTEN_FDS": "0",
        "LISTEN_PID": str(PID),
        "LISTEN_FDNAMES": "",
        "PATH": "/bin",
    }
    ServiceManager.of(environ, pid=PID).tell("READY=1")  # nobody listens there
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("usec", "pid", "beats"), [("1000000", str(PID), 1), ("1000000", "8", 0), ("0", "", 0)]
)
def test_it_is_told_that_all_is_well_when_it_asks_for_that(usec, pid, beats):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0mpserve-test-{os.getpid()}-{usec}-{pid}")
        address = "@" + listener.getsockname()[1:].decode()
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
        manager = ServiceManager.of(environ, pid=PID)
        manager.tell("READY=1", "STATUS=fine")
        manager.beat()
        assert listener.recv(100) == b"READY=1\nSTATUS=fine"
        listener.settimeout(0)
        heard = []
        with contextlib.suppress(BlockingIOError):
            heard.append(listener.recv(100))
        assert heard == [b"WATCHDOG=1"] * beats


@pytest.mark.parametrize(
    ("count", "pid", "names", "places"),
    [
        ("2", str(PID), "other:http", {"http": 1}),
        ("1", str(PID), "", {"http": 0}),
        ("1", str(PID), "mpserve.socket", {"http": 0}),
        ("2", str(PID), "grpc:metrics", {"grpc": 0, "metrics": 1}),
        ("1", str(PID), "grpc:http", {"grpc": 0}),
        ("0", str(PID), "", {}),
        ("1", "8", "http", {}),
    ],
)
def test_lent_sockets_are_known_by_their_names(monkeypatch, count, pid, names, places):
    read_fd, write_fd = os.pipe()
    first = min(read_fd, write_fd)
    monkeypatch.setattr("mpserve.supervisor.service_manager.FIRST_FD", first)
    environ = {"LISTEN_FDS": count, "LISTEN_PID": pid, "LISTEN_FDNAMES": names}
    lent = ServiceManager.of(environ, pid=PID).lent
    assert lent == LentSockets(**{name: first + place for name, place in places.items()})
    os.close(read_fd)
    os.close(write_fd)
