"""What only the operator or a client may know is in no log, at any level, whatever goes wrong."""

import base64
import json
from pathlib import Path

import grpc

from tests.fixtures.grpc_calls import Calls
from tests.fixtures.scripted import script_body
from tests.fixtures.waiting import wait_until

HTTP_TOKEN, GRPC_TOKEN, CLIENT_TOKEN = "http-t0ken-7Kq", "grpc-t0ken-9Zx", "client-t0ken-3Pw"
OVERRIDE, FILE, TENSOR = "override-s3cret-5Rt", "file-s3cret-8Yu", "tensor-s3cret-2Io"
SECRETS = (HTTP_TOKEN, GRPC_TOKEN, CLIENT_TOKEN, OVERRIDE, FILE, TENSOR)
BEARER = {"Authorization": f"Bearer {HTTP_TOKEN}"}
ENVIRONMENT = {
    "MPSERVE_HTTP_RESTRICTED_API": (
        f"model-repository,logging,trace,shared-memory:authorization=Bearer {HTTP_TOKEN}"
    ),
    "MPSERVE_GRPC_RESTRICTED_PROTOCOL": f"model-repository,logging:admin={GRPC_TOKEN}",
}
FLAGS = [
    "--model-control-mode=explicit",
    "--load-model=m",
    "--http-header-forward-pattern=^x-",
    "--log-verbose=9",
]


def override(**parameters):
    texts = {key: {"string_value": value} for key, value in parameters.items()}
    tensors = [{"name": "SCRIPT", "data_type": "TYPE_STRING", "dims": [1]}]
    results = [{"name": "RESULT", "data_type": "TYPE_STRING", "dims": [1]}]
    return json.dumps(
        {"backend": "python", "input": tensors, "output": results, "parameters": texts}
    )


def load(server, parameters, headers):
    body = json.dumps({"parameters": parameters}).encode()
    return server.request("POST", "/v2/repository/models/m/load", body, headers)


def infer(server, code, headers):
    return server.request("POST", "/v2/models/m/infer", json.dumps(script_body(code)), headers)


def test_a_bearer_token_guards_control_over_both_protocols_and_nothing_tells_it(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path, flags=FLAGS, environment=ENVIRONMENT)

    # Without the token the control calls are refused, over both protocols; inference is not.
    for headers in ({}, {"Authorization": f"Bearer {CLIENT_TOKEN}"}):
        assert load(server, {}, headers).status == 403
        assert server.request("POST", "/v2/logging", b"{}", headers).status == 403
    told = {"x-key": CLIENT_TOKEN, "authorization": CLIENT_TOKEN}
    assert infer(server, f"return len('{TENSOR}')", told).status == 200
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert Calls(channel)("ServerLive").live
        for metadata, code in (
            ((), grpc.StatusCode.UNAVAILABLE),
            ((("triton-grpc-protocol-admin", CLIENT_TOKEN),), grpc.StatusCode.UNAVAILABLE),
            ((("triton-grpc-protocol-admin", GRPC_TOKEN),), grpc.StatusCode.OK),
        ):
            assert status_of(channel, metadata) is code

    # Loads with overrides and files, good and bad ones; requests that fail.
    source = Path(repository.path, "m", "1", "model.py").read_bytes()
    files = {"file:1/model.py": base64.b64encode(source + f"\n# {FILE}\n".encode()).decode()}
    assert load(server, {"config": override(key=OVERRIDE), **files}, BEARER).status == 200
    for bad in (
        {"config": f'{{"backend": "python", "{OVERRIDE}": '},
        {"config": override(MPSERVE_MEMORY_LIMIT_MIB=f"-{len(OVERRIDE)}", key=OVERRIDE)},
        {"config": override(), "file:../x": base64.b64encode(FILE.encode()).decode()},
        {"config": override(), "file:1/model.py": FILE + "!"},
    ):
        assert load(server, bad, BEARER).status >= 400
    assert infer(server, "raise ValueError('on purpose')", told).status >= 400
    raw = f'{{"inputs": [{{"name": "SCRIPT", "data": ["{TENSOR}"'.encode()
    assert server.request("POST", "/v2/models/m/infer", raw, told).status >= 400
    assert server.request("POST", "/v2/models/m/infer", raw, {"x y": CLIENT_TOKEN}).status >= 400
    server.process_named("mps supervisor").kill()
    assert server.request("GET", "/v2/health/live").status == 200

    def command_lines():  # the killed one may be among them for a moment
        processes = server.processes()
        return [Path(f"/proc/{one.pid}/cmdline").read_bytes().decode() for one in processes]

    lines = wait_until(command_lines, what="the processes to stay")
    assert server.stop() == 0
    for secret in SECRETS:
        assert secret not in server.log_text, secret
        assert not any(secret in line for line in lines), secret
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
        assert encoded not in server.log_text, secret


def status_of(channel, metadata):
    """The status of a load over gRPC."""
    request = Calls(channel).message("RepositoryModelLoadRequest", model_name="m")
    load_model = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    try:
        load_model(request.SerializeToString(), metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_files_of_the_server_are_its_users_alone(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    modes = {name: Path("/dev/shm", name).stat().st_mode & 0o777 for name in server.segments()}
    assert modes
    assert modes == dict.fromkeys(modes, 0o600)
