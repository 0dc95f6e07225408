"""What the transports carry: deadlines, limits, compression, TLS, frontends, orderly ends."""

import contextlib
import shutil
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, TRITON, Calls
from tests.fixtures.pace import within
from tests.fixtures.relay import Relay
from tests.fixtures.repository import Repository
from tests.fixtures.server import READY_SECONDS, Server
from tests.fixtures.turnstile import HOLDS, Turnstile, answer
from tests.fixtures.waiting import wait_until
from tests.protocol.models import IDENTITY, tensors, write_named, write_triton

CODE = grpc.StatusCode
pytestmark = BOTH_TRANSPORTS
MIB = 1 << 20


def models(root: Path) -> Path:
    write_triton(
        root / "identity",
        source=IDENTITY,
        config=tensors("input", ("IN", "TYPE_FP32", [-1]))
        + tensors("output", ("OUT", "TYPE_FP32", [-1])),
    )
    return write_named(root, "teller")


@pytest.fixture(scope="module")
def turnstile(tmp_path_factory):
    """A model, in the same repository as the others, behind which requests wait."""
    repository = Repository(tmp_path_factory.mktemp("transport") / "models")
    models(repository.path)
    return Turnstile(repository, repository.path.parent, config="")


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, grpc_transport, turnstile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with Server.serve(
        turnstile.gate.with_name("models"),
        flags=[
            "--grpc-infer-response-compression-level=high",
            "--grpc-header-forward-pattern=x-.*",
            "--grpc-restricted-protocol=model-repository,statistics:admin=secret",
        ],
        log_path=folder / "log",
    ) as one:
        yield one


@pytest.fixture
def calls(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        # Calls that wait for a connection go out in any order.
        grpc.channel_ready_future(channel).result(timeout=within(20))
        yield Calls(channel)


def vector(calls, values, *, model="identity", name="IN", **more):
    data = np.asarray(values, dtype="<f4").tobytes()
    tensor = {"name": name, "datatype": "FP32", "shape": [len(values)]}
    return calls.infer_request(model, tensor, raw=(data,), **more)


def turn(calls, *, hold=0):
    tensor = {"name": "HOLD", "datatype": "INT32", "shape": [1]}
    return calls.infer_request("t", tensor, raw=(np.int32(hold).tobytes(),))


def path(method):
    return f"/inference.GRPCInferenceService/{method}"


def turn_of_next(server, turnstile):
    status, told = answer(turnstile.send(server))
    assert status == 200
    return told


def test_a_deadline_takes_back_what_waits(server, calls, turnstile):
    """The request waits behind another; past its deadline nobody executes it."""
    infer = calls.channel.unary_unary(
        path("ModelInfer"), request_serializer=lambda message: message.SerializeToString()
    )
    before = turn_of_next(server, turnstile)
    with turnstile.held(server):
        late = infer.future(turn(calls), timeout=within(0.5))
        wait_until(lambda: turnstile.waiting(server) == 1 or late.done(), what="it to wait")
        assert late.exception().code() is CODE.DEADLINE_EXCEEDED
        wait_until(lambda: turnstile.waiting(server) == 0, what="it to leave the queue")
    assert turn_of_next(server, turnstile) == before + 2  # the one that held had a turn


def test_a_cancelled_call_is_taken_back(server, calls, turnstile):
    infer = calls.channel.unary_unary(
        path("ModelInfer"), request_serializer=lambda message: message.SerializeToString()
    )
    before = turn_of_next(server, turnstile)
    with turnstile.held(server):
        cancelled = infer.future(turn(calls), timeout=within(30))
        wait_until(lambda: turnstile.waiting(server) == 1, what="it to wait")
        cancelled.cancel()
        wait_until(lambda: turnstile.waiting(server) == 0, what="it to leave the queue")
    assert turn_of_next(server, turnstile) == before + 2


def test_a_cancelled_stream_takes_back_what_waits(server, calls, turnstile):
    """What is executed meanwhile is not; the request behind it is."""
    before = turn_of_next(server, turnstile)
    holds = server.log_text.count(HOLDS)
    turnstile.gate.touch()
    try:
        stream = calls.stream(iter([turn(calls), turn(calls, hold=1), turn(calls)]))
        assert next(stream).infer_response.model_name == "t"
        wait_until(lambda: server.log_text.count(HOLDS) > holds, what="the model to hold")
        wait_until(lambda: turnstile.waiting(server) == 1, what="the last one to wait")
        stream.cancel()
        with contextlib.suppress(grpc.RpcError):
            list(stream)
        wait_until(lambda: turnstile.waiting(server) == 0, what="it to leave the queue")
    finally:
        turnstile.release()
    assert turn_of_next(server, turnstile) == before + 3  # the first, the one that held, and this


def test_tensors_beyond_any_buffer_come_back_as_they_were(server):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as channel:
        calls = Calls(channel)
        values = np.arange(2 * MIB, dtype="<f4")
        answer = calls("ModelInfer", vector(calls, values))
        assert answer.raw_output_contents[0] == values.tobytes()


def test_large_calls_of_one_connection_do_not_mix(serve, tmp_path):
    """Their frames are interleaved; sizes are around the border from which blocks are used.

    A server of its own, which does not forward metadata: the native core takes these calls.
    """
    server = serve(models(tmp_path / "models"))
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as channel:
        calls = Calls(channel)
        infer = channel.unary_unary(
            path("ModelInfer"),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=TRITON.message("inference.ModelInferResponse").FromString,
        )
        arrays = [
            np.full(size, number, dtype="<f4")
            for number, size in enumerate([16_000, 16_384, 20_001, MIB, 3, 700_000] * 3)
        ]
        running = [infer.future(vector(calls, array), timeout=within(20)) for array in arrays]
        for array, one in zip(arrays, running, strict=True):
            assert one.result().raw_output_contents[0] == array.tobytes()


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_every_call_of_a_load_generator_is_answered(serve, tmp_path, calls):
    server = serve(models(tmp_path / "models"))
    request = vector(calls, np.arange(16)).SerializeToString()
    (tmp_path / "body").write_bytes(b"\0" + struct.pack(">I", len(request)) + request)
    command = ["h2load", "-n2000", "-c8", "-m8", "-d", tmp_path / "body", "-H", "te: trailers"]
    command += ["-H", "content-type: application/grpc", f"http://{server.grpc_address}"]
    command[-1] += path("ModelInfer")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=within(40), check=True)
    assert "2000 succeeded, 0 failed, 0 errored" in ran.stdout


def test_answers_are_compressed_when_that_is_wanted(server):
    """gRPC compresses below what Python sees, so the bytes on the wire are counted."""
    with Relay(server.grpc_port) as relay:
        with grpc.insecure_channel(f"127.0.0.1:{relay.port}") as channel:
            calls = Calls(channel)
            answer = calls("ModelInfer", vector(calls, np.zeros(MIB // 4)))
        assert len(answer.raw_output_contents[0]) == MIB
        assert relay.received_bytes < MIB // 10


def test_compressed_requests_are_read(server):
    with grpc.insecure_channel(server.grpc_address, compression=grpc.Compression.Gzip) as channel:
        calls = Calls(channel)
        values = np.zeros(1000)
        answer = calls("ModelInfer", vector(calls, values))
        assert len(answer.raw_output_contents[0]) == 4000


def test_metadata_is_forwarded_where_the_pattern_finds_it(calls):
    call = calls.channel.unary_unary(
        path("ModelInfer"),
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=TRITON.message("inference.ModelInferResponse").FromString,
    )
    request = vector(calls, [1.0], model="teller")
    metadata = [("x-tenant", "blue"), ("other", "no")]
    told = call(request, metadata=metadata, timeout=within(10)).raw_output_contents[0]
    assert b'"x-tenant": "blue"' in told
    assert b"other" not in told


@pytest.mark.parametrize("method", ["RepositoryIndex", "ModelStatistics", "RepositoryModelLoad"])
def test_restricted_methods_need_their_secret(calls, method):
    call = calls.channel.unary_unary(path(method))
    refusal = (
        CODE.UNAVAILABLE,
        "This protocol is restricted, expecting header 'triton-grpc-protocol-admin'",
    )
    for metadata in (None, [("triton-grpc-protocol-admin", "wrong")]):
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", metadata=metadata, timeout=within(10))
        assert (caught.value.code(), caught.value.details()) == refusal
    if method == "RepositoryIndex":
        assert call(b"", metadata=[("triton-grpc-protocol-admin", "secret")], timeout=within(10))


def test_other_methods_need_none(calls):
    assert calls("ServerLive").live


def test_a_message_past_the_limit_is_refused(serve, tmp_path):
    server = serve(models(tmp_path / "models"), flags=["--grpc-max-message-bytes=65536"])
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        with pytest.raises(grpc.RpcError) as caught:
            calls("ModelInfer", vector(calls, np.zeros(20_000)))
        assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
        assert calls("ServerLive").live


def test_all_frontends_share_the_port(serve, tmp_path):
    server = serve(models(tmp_path / "models"), flags=["--frontends=2"])
    for _ in range(8):
        with grpc.insecure_channel(server.grpc_address) as channel:
            calls = Calls(channel)
            assert calls("ModelInfer", vector(calls, [1.0])).raw_output_contents


def test_a_port_that_is_taken_ends_the_start(serve, tmp_path):
    first = serve(models(tmp_path / "models"))
    second = serve(tmp_path / "models", flags=[f"--grpc-port={first.grpc_port}"], wait_ready=False)
    second.expected_exit_code = 1
    assert second.wait_exit() == 1
    assert (
        f"failed to start GRPC service: Unavailable - Socket '{first.grpc_address}' already in use "
        in second.log_text
    )


def test_http_may_be_left_out(serve, tmp_path):
    server = serve(models(tmp_path / "models"), flags=["--allow-http=false"], wait_ready=False)

    def is_ready():
        with grpc.insecure_channel(server.grpc_address) as channel:
            try:
                return Calls(channel)("ServerReady").ready
            except grpc.RpcError:
                return False

    wait_until(is_ready, deadline=READY_SECONDS, what="the server to be ready over gRPC")


def test_an_end_waits_for_calls_and_streams(serve, repository, tmp_path):
    turnstile = Turnstile(repository, tmp_path, config="")
    server = serve(models(repository.path), flags=["--log-format=json"])
    turnstile.gate.touch()
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        infer = channel.unary_unary(
            path("ModelInfer"), request_serializer=lambda message: message.SerializeToString()
        )
        running = infer.future(turn(calls, hold=1), timeout=within(30))
        asked = threading.Event()

        def requests():
            yield vector(calls, [1.0])
            asked.wait()

        idle = calls.stream(requests())
        try:
            assert next(idle).infer_response.model_name == "identity"
            wait_until(lambda: HOLDS in server.log_text, what="the model to hold")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.events("server.stopping"), what="the server to hear of it")
            turnstile.release()
            assert running.result()
            with pytest.raises(grpc.RpcError) as caught:
                list(idle)
        finally:
            asked.set()
        assert caught.value.code() is CODE.UNAVAILABLE
    assert server.wait_exit() == 0


def test_tls_with_a_certificate_of_the_client(serve, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server = serve(
        models(tmp_path / "models"),
        flags=[
            "--grpc-use-ssl-mutual=true",
            f"--grpc-server-cert={cert}",
            f"--grpc-server-key={key}",
            f"--grpc-root-cert={cert}",
        ],
    )
    trusted = grpc.ssl_channel_credentials(cert.read_bytes(), key.read_bytes(), cert.read_bytes())
    with grpc.secure_channel(server.grpc_address, trusted) as channel:
        assert Calls(channel)("ServerLive").live
    strange = grpc.ssl_channel_credentials(cert.read_bytes())
    with grpc.secure_channel(server.grpc_address, strange) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            Calls(channel)("ServerLive")
        assert caught.value.code() is CODE.UNAVAILABLE


def test_a_certificate_that_is_not_there_ends_the_start(serve, tmp_path):
    server = serve(
        models(tmp_path / "models"),
        flags=["--grpc-use-ssl=true", "--grpc-server-cert=/none", "--grpc-server-key=/none"],
        wait_ready=False,
    )
    server.expected_exit_code = 1
    assert server.wait_exit() == 1
    assert "failed to start GRPC service: Unavailable - '/none' can not be read" in server.log_text


def test_rubbish_over_the_wire_leaves_the_server_serving(server):
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff"):
        with socket.create_connection(
            ("127.0.0.1", server.grpc_port), timeout=within(5)
        ) as connection:
            connection.sendall(junk)
            with contextlib.suppress(OSError):
                connection.recv(1000)
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert Calls(channel)("ServerLive").live
        infer = channel.unary_unary(path("ModelInfer"))
        for junk in (b"", b"\xff", b"\x0a\x01m", struct.pack("<100B", *range(100))):
            with pytest.raises(grpc.RpcError):
                infer(junk, timeout=within(5))
        assert Calls(channel)("ServerLive").live
