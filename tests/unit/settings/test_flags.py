"""The table of flags is complete and agrees with `Settings`."""

import pytest

from mpserve.dialect import DialectName
from mpserve.model.log_switches import LogSwitches
from mpserve.settings import ClientLimits, Settings, decode_settings, encode_settings
from mpserve.settings.flags import Standing
from mpserve.settings.grpc_settings import GrpcSettings
from mpserve.settings.http_settings import HttpSettings
from mpserve.settings.reading import SERVE_FLAGS, START_FLAGS, read_serve

# Triton's flags as its usage text lists them, written down by hand.
TRITON_FLAGS = """
id exit-timeout-secs log-verbose log-info log-warning log-error log-format log-file
model-repository exit-on-error disable-auto-complete-config strict-model-config strict-readiness
model-control-mode repository-poll-secs load-model model-config-name model-load-thread-count
model-load-retry-count model-namespacing enable-peer-access allow-http http-address http-port
reuse-http-port http-header-forward-pattern http-thread-count http-max-input-size
http-restricted-api allow-grpc grpc-address grpc-port reuse-grpc-port
grpc-header-forward-pattern grpc-infer-thread-count grpc-infer-allocation-pool-size
grpc-max-response-pool-size grpc-use-ssl grpc-use-ssl-mutual grpc-server-cert grpc-server-key
grpc-root-cert grpc-infer-response-compression-level grpc-keepalive-time grpc-keepalive-timeout
grpc-keepalive-permit-without-calls grpc-http2-max-pings-without-data
grpc-http2-min-recv-ping-interval-without-data grpc-http2-max-ping-strikes
grpc-max-connection-age grpc-max-connection-age-grace grpc-restricted-protocol allow-metrics
allow-gpu-metrics allow-cpu-metrics metrics-address metrics-port metrics-interval-ms
metrics-config trace-config trace-file trace-level trace-rate trace-count trace-log-frequency
backend-directory backend-config repoagent-directory cache-config cache-directory
response-cache-byte-size rate-limit rate-limit-resource pinned-memory-pool-byte-size
cuda-memory-pool-byte-size cuda-virtual-address-size min-supported-compute-capability
buffer-manager-thread-count host-policy model-load-gpu-limit allow-client-shm allow-sagemaker
sagemaker-port sagemaker-safe-port-range sagemaker-thread-count allow-vertex-ai vertex-ai-port
vertex-ai-thread-count vertex-ai-default-model
""".split()


FIELDS = (
    {name for name in Settings.__struct_fields__ if name not in {"grpc", "http", "clients", "log"}}
    | {f"grpc_{name}" for name in GrpcSettings.__struct_fields__}
    | {f"http.{name}" for name in HttpSettings.__struct_fields__}
    | {f"clients.{name}" for name in ClientLimits.__struct_fields__}
    | {f"log.{name}" for name in LogSwitches.__struct_fields__}
)


@pytest.mark.parametrize("name", TRITON_FLAGS)
def test_serve_knows_every_flag_of_triton(name):
    assert name in {flag.name for flag in SERVE_FLAGS}


def test_names_are_unique():
    names = [name for flag in SERVE_FLAGS for name in (flag.name, flag.alias) if name]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("flag", SERVE_FLAGS, ids=lambda flag: flag.name)
def test_a_flag_is_helpful_and_fills_a_field_that_exists(flag):
    assert flag.help
    assert not flag.field or flag.field in FIELDS
    assert flag.standing is Standing.ACTS or flag.reason


@pytest.mark.parametrize("flag", SERVE_FLAGS, ids=lambda flag: flag.name)
def test_the_default_of_a_flag_passes_its_own_check(flag):
    if not flag.repeatable and flag.name != "repoagent-directory":
        text = str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)
        assert flag.read_all((text,)) == (flag.default,)


def test_every_field_of_settings_can_be_told():
    told_elsewhere = {
        "worker_user",
        "parallel_workers",
        "server_version",
        "extensions",
        "model_environment",
        "http.restrictions",
        "http.cors",
        "http.root_path",
        "http.compresses",
        "logging",
        "grpc_restrictions",
        "trace",
        "span_export",
        "metrics_http_prefix",
        "metrics_summary_quantiles",
        "metrics_histogram_latencies",
    }
    filled = {flag.field for flag in SERVE_FLAGS if flag.field}
    assert FIELDS - filled == told_elsewhere


def test_defaults_of_the_rows_are_those_of_the_struct():
    read = read_serve(["--model-repository=/m"], environment={}, version="1.2").settings
    for field in Settings.__struct_fields__:
        if field not in {
            "model_repositories",
            "repository_poll_secs",
            "server_version",
            "extensions",
        }:
            assert getattr(read, field) == getattr(Settings(), field), field


def test_start_offers_only_flags_that_act():
    assert {flag.standing for flag in START_FLAGS} == {Standing.ACTS}


def test_start_has_the_ports_of_mlserver():
    ports = {
        flag.name: flag.default_of(DialectName.MLSERVER)
        for flag in START_FLAGS
        if flag.name.endswith("-port") and "reuse" not in flag.name
    }
    assert ports == {"http-port": 8080, "grpc-port": 8081, "metrics-port": 8082}


def test_settings_survive_their_way_to_a_child_process():
    settings = read_serve(["--model-repository=/m"], environment={}, version="1").settings
    assert decode_settings(encode_settings(settings)) == settings
