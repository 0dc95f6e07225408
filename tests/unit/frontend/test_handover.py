"""A listening socket that is left lets handshakes end, and begins none."""

import contextlib
import errno
import select
import socket

import pytest

from mpserve.frontend.handover import HANDSHAKE_SECONDS, hand_over
from mpserve.frontend.listener import listen, port_of
from tests.fixtures.pace import within

SYN_AGAIN_SECONDS = 1.0  # RFC 6298 section 2.1


@contextlib.contextmanager
def listening(port: int, address: str = "127.0.0.1"):
    with listen(address=address, port=port, exclusive=False) as listener:
        yield listener


def connecting(listener: socket.socket) -> socket.socket:
    client = socket.socket(listener.family)
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect(listener.getsockname())
    return client


def is_connected(client: socket.socket, seconds: float) -> bool:
    _, writable, _ = select.select([], [client], [], seconds)
    return bool(writable) and client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_connects_afterwards_is_the_next_ones_client(address):
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(listening(0, address))
        waiting = stack.enter_context(connecting(old))
        assert is_connected(waiting, within(1))
        if not hand_over(old):
            pytest.skip("the kernel moves connections: net.ipv4.tcp_migrate_req")
        late = [stack.enter_context(connecting(old)) for _ in range(8)]
        assert not any(is_connected(one, HANDSHAKE_SECONDS / 8) for one in late)
        accepted, _ = old.accept()  # it was there before
        stack.enter_context(accepted)
        accepted.sendall(b"old")
        new = stack.enter_context(listening(port_of(old), address))
        with pytest.raises(BlockingIOError):
            old.accept()
        old.close()
        assert all(is_connected(one, SYN_AGAIN_SECONDS + within(2)) for one in late)
        for one in late:
            taken = stack.enter_context(new.accept()[0])
            taken.sendall(b"new")
            one.setblocking(True)
        assert {one.recv(3) for one in late} == {b"new"}
        assert waiting.recv(3) == b"old"


class NoFilters(socket.socket):
    """A socket of a kernel that has no filters."""

    def setsockopt(self, *_: object) -> None:
        raise OSError(errno.ENOPROTOOPT, "no filters here")


def test_a_socket_that_takes_no_filter_is_closed_at_once_and_the_log_says_so(capfd):
    with NoFilters() as listener:
        assert not hand_over(listener)
    assert "port.kept" in capfd.readouterr().err
