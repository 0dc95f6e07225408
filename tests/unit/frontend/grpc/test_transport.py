"""Which transport carries gRPC."""

import pytest

from mpserve.errors import ConfigError
from mpserve.frontend.grpc.transport import is_native
from mpserve.settings import GrpcTransport

ABSENT = "libnghttp2.so.14: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("wanted", "fault", "expected"),
    [
        (GrpcTransport.AUTO, "", True),
        (GrpcTransport.AUTO, ABSENT, False),
        (GrpcTransport.NATIVE, "", True),
        (GrpcTransport.AIO, "", False),
        (GrpcTransport.AIO, ABSENT, False),
    ],
)
def test_the_native_transport_is_taken_where_it_can_be(wanted, fault, expected):
    assert is_native(wanted, fault=fault) is expected


def test_a_fall_back_is_told(capfd):
    is_native(GrpcTransport.AUTO, fault=ABSENT)
    assert "grpc.fell_back" in capfd.readouterr().err


def test_a_native_transport_that_was_asked_for_is_not_replaced():
    with pytest.raises(ConfigError, match=r"needs nghttp2, install it .*libnghttp2-14.*: libngh"):
        is_native(GrpcTransport.NATIVE, fault=ABSENT)
