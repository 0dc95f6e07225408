"""Idle connections are there, and it is noticed when the server ends them."""

import socket

import pytest

from bench.errors import LoadFailed
from bench.loading.idle_connections import idle_connections


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def test_as_many_as_asked_for_are_held_until_the_end(listener):
    with idle_connections(3, port=listener.getsockname()[1]):
        accepted = [listener.accept()[0] for _ in range(3)]
        for one in accepted:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
    for one in accepted:
        one.setblocking(True)
        assert one.recv(1) == b""
        one.close()


def test_a_server_that_ends_one_is_told(listener):
    held = idle_connections(2, port=listener.getsockname()[1])
    held.__enter__()
    listener.accept()[0].close()

    with pytest.raises(LoadFailed, match="closed 1 of 2"):
        held.__exit__(None, None, None)


def test_a_server_that_takes_none_is_told(listener):
    port = listener.getsockname()[1]
    listener.close()

    with pytest.raises(LoadFailed, match="idle connection 1 of 2"), idle_connections(2, port=port):
        pass
