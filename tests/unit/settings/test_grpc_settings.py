"""Flags of gRPC, and what comes of its library not being there."""

from pathlib import Path

import pytest

from mpserve.settings import decode_settings, encode_settings
from mpserve.settings.arguments import UsageError
from mpserve.settings.extras import NATIVE_LIBRARY, without_absent
from mpserve.settings.grpc_settings import GrpcCompression, GrpcSettings
from mpserve.settings.reading import read_serve, read_start

ABSENT = "mpserve_has_no_such_library"


def settings_of(*arguments):
    words = ["--model-repository=/models", *arguments]
    return read_serve(words, environment={}, version="9.9").settings


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--grpc-address=::1", {"address": "::1"}),
        ("--grpc-port=9001", {"port": 9001}),
        ("--reuse-grpc-port=true", {"reuse_port": True}),
        ("--grpc-max-message-bytes=4096", {"max_message_bytes": 4096}),
        (
            "--grpc-infer-response-compression-level=HIGH",
            {"compression_level": GrpcCompression.HIGH},
        ),
        ("--grpc-keepalive-time=1", {"keepalive_time_ms": 1}),
        ("--grpc-keepalive-timeout=2", {"keepalive_timeout_ms": 2}),
        ("--grpc-keepalive-permit-without-calls=1", {"keepalive_permit_without_calls": True}),
        ("--grpc-http2-max-pings-without-data=3", {"http2_max_pings_without_data": 3}),
        (
            "--grpc-http2-min-recv-ping-interval-without-data=4",
            {"http2_min_ping_interval_ms": 4},
        ),
        ("--grpc-http2-max-ping-strikes=5", {"http2_max_ping_strikes": 5}),
        ("--grpc-max-connection-age=6", {"max_connection_age_ms": 6}),
        ("--grpc-max-connection-age-grace=7", {"max_connection_age_grace_ms": 7}),
    ],
)
def test_a_flag_reaches_the_settings(argument, expected):
    settings = settings_of(argument)
    told = {name: getattr(settings.grpc, name) for name in expected}
    assert told == expected
    assert decode_settings(encode_settings(settings)) == settings


def test_the_defaults_are_tritons():
    assert settings_of().grpc == GrpcSettings()


def test_mlserver_has_one_host_and_its_own_limit(tmp_path):
    environment = {"MLSERVER_HOST": "127.0.0.1"}
    grpc = read_start([str(tmp_path)], environment=environment, version="1").settings.grpc
    assert (grpc.address, grpc.port) == ("127.0.0.1", 8081)
    assert grpc.max_message_bytes == 4 * 1024 * 1024


def test_mlservers_message_limit_is_taken(tmp_path):
    environment = {"MLSERVER_GRPC_MAX_MESSAGE_LENGTH": "5000"}
    settings = read_start([str(tmp_path)], environment=environment, version="1").settings
    assert settings.grpc.max_message_bytes == 5000


def test_mentioning_mutual_tls_switches_tls_on():
    files = ["--grpc-server-cert=c", "--grpc-server-key=k"]
    grpc = settings_of("--grpc-use-ssl-mutual=false", *files).grpc
    assert (grpc.use_ssl, grpc.use_ssl_mutual) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grpc-use-ssl=true"], "--grpc-use-ssl needs --grpc-server-cert"),
        (
            ["--grpc-use-ssl-mutual=true", "--grpc-server-cert=c", "--grpc-server-key=k"],
            "--grpc-use-ssl-mutual needs --grpc-root-cert",
        ),
        (["--allow-http=false", "--allow-grpc=false"], "leave nothing to serve"),
        (
            ["--grpc-infer-response-compression-level=x"],
            "invalid argument for --grpc_infer_response_compression_level",
        ),
    ],
)
def test_flags_that_can_not_work_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        settings_of(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grpc-address=unix:"], "--grpc-address=unix: needs a path"),
        (
            ["--grpc-address=unix:/x", "--http-address=unix:/x"],
            "HTTP requests and GRPC requests at the same address and port unix:/x",
        ),
    ],
)
def test_unix_sockets_need_a_path_of_their_own(arguments, message):
    with pytest.raises(UsageError, match=message):
        settings_of(*arguments)


def test_http_may_be_off():
    assert not settings_of("--allow-http=false").allow_http


def test_without_both_libraries_grpc_is_left_out_and_that_is_told():
    settings, told = without_absent(settings_of(), {}, aio=ABSENT, native=ABSENT)
    assert not settings.allow_grpc
    assert "nghttp2" in told[0]
    assert "pip install 'mpserve[grpc]'" in told[0]


@pytest.mark.parametrize("here", [{"aio": ABSENT, "native": "libc.so.6"}, {"native": ABSENT}])
def test_one_of_the_libraries_is_enough(here):
    assert without_absent(settings_of(), {}, **here) == (settings_of(), ())


@pytest.mark.parametrize("transport", ["aio", "native"])
def test_the_portable_transport_alone_needs_its_package(transport):
    settings = settings_of(f"--grpc-transport={transport}")
    said = {"grpc-transport": (transport,)}
    if transport == "native":  # its own library is looked for by the core
        assert without_absent(settings, said, aio=ABSENT, native=ABSENT) == (settings, ())
        return
    with pytest.raises(UsageError, match="it needs grpcio"):
        without_absent(settings, said, aio=ABSENT)


def test_the_shared_library_is_the_one_that_the_core_loads():
    header = Path(__file__).parents[3] / "native" / "include" / "mpserve" / "http2_library.hpp"
    assert f'kLibraryFile = "{NATIVE_LIBRARY}"' in header.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), {"allow-grpc": (True,)}),
        (("--allow-http=false",), {}),
        (("--grpc-transport=auto",), {"grpc-transport": ("auto",)}),
    ],
)
def test_without_both_libraries_grpc_can_not_be_asked_for(arguments, said):
    with pytest.raises(UsageError, match="--allow-grpc: gRPC can not be served: it needs nghttp2"):
        without_absent(settings_of(*arguments), said, aio=ABSENT, native=ABSENT)


def test_without_its_library_grpc_may_be_off():
    settings = settings_of("--allow-grpc=false")
    assert without_absent(settings, {"allow-grpc": (False,)}, aio=ABSENT, native=ABSENT) == (
        settings,
        (),
    )
