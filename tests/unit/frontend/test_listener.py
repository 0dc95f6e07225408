"""Sharing a port among frontends, and with nobody else."""

import socket

import pytest

from mpserve.errors import ConfigError
from mpserve.frontend.listener import listen, port_of


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_the_system_chooses_a_port_for_zero(address):
    with listen(address=address, port=0, exclusive=True) as listener:
        port = port_of(listener)
        assert port > 0
        socket.create_connection(listener.getsockname()[:2], timeout=5).close()


def test_frontends_share_a_port():
    with (
        listen(address="127.0.0.1", port=0, exclusive=True) as first,
        listen(address="127.0.0.1", port=port_of(first), exclusive=False) as second,
    ):
        assert port_of(second) == port_of(first)


def test_another_servers_port_is_refused_although_it_would_share():
    with listen(address="127.0.0.1", port=0, exclusive=False) as other:
        port = port_of(other)
        with pytest.raises(ConfigError) as caught:
            listen(address="127.0.0.1", port=port, exclusive=True)
        assert caught.value.message == f"Socket '127.0.0.1:{port}' already in use "


def test_a_port_that_is_not_shared_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match="already in use"):
            listen(address="127.0.0.1", port=port, exclusive=False)


@pytest.mark.parametrize("address", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_of_elsewhere_is_refused(address):
    with pytest.raises(ConfigError, match=address):
        listen(address=address, port=0, exclusive=False)
