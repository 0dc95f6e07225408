"""Triton's command-line checklist, line by line (its numbers are in the ids)."""

import pytest

from mpserve.errors import ConfigError
from mpserve.model.log_switches import LogLevel, written_levels
from mpserve.settings import ModelControlMode
from mpserve.settings.arguments import UsageError
from mpserve.settings.reading import read_serve
from mpserve.settings.validation import CreationError


def read(*arguments, environment=None):
    words = ["--model-repository=/models", *arguments]
    return read_serve(words, environment=environment or {}, version="9.9")


def settings_of(*arguments):
    return read(*arguments).settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["--model-control-mode=x"],
            'Bad option: "--model-control-mode".\ninvalid argument for --model-control-mode',
            id="4",
        ),
        pytest.param(
            ["--http-port=abc"],
            'Bad option: "--http-port".\nInvalid option value. Got abc',
            id="5",
        ),
        pytest.param(
            ["--strict-readiness=maybe"],
            'Bad option: "--strict-readiness".\ninvalid value for bool option: maybe',
            id="7",
        ),
        pytest.param(
            ["--model-repository=s3://bucket/models"],
            "Bad option: \"--model-repository\".\n's3://bucket/models' is remote storage, which "
            "mpserve does not read; copy it or mount it, and give the folder",
            id="remote storage",
        ),
        pytest.param(
            ["--model-repository="],
            'Bad option: "--model-repository".\nthe value is empty',
            id="no folder",
        ),
        pytest.param(
            ["--worker-user="],
            "Error: empty argument for --worker-user",
            id="no user",
        ),
        pytest.param(
            ["--load-model=a"],
            "Error: Use of '--load-model' requires setting "
            "'--model-control-mode=explicit' as well.",
            id="8",
        ),
        pytest.param(
            ["--http-port=8001"],
            "The server cannot listen to HTTP requests and GRPC requests at the same address and "
            "port 0.0.0.0:8001",
            id="10",
        ),
        pytest.param(["stray"], "Unexpected argument: stray", id="11"),
        pytest.param(
            ["--grpc-infer-thread-count=1"],
            'Bad option: "--grpc-infer-thread-count".\ninvalid argument for '
            "--grpc_infer_thread_count. Must be in the range 2 to 128.",
            id="12",
        ),
        pytest.param(
            ["--http-max-input-size=0"],
            'Bad option: "--http-max-input-size".\n'
            "Error: --http-max-input-size must be greater than 0.",
            id="13",
        ),
        pytest.param(
            ["--model-config-name="],
            "Error: empty argument for --model-config-name",
            id="14",
        ),
        pytest.param(
            ["--http-restricted-api=foo:k=v"],
            "Bad option: \"--http-restricted-api\".\nunknown restricted api 'foo' ",
            id="15",
        ),
        pytest.param(
            ["--http-restricted-api=health:k=v", "--http-restricted-api=health:j=w"],
            "Bad option: \"--http-restricted-api\".\nrestricted api 'health' can not be specified "
            "in multiple config groups",
            id="16",
        ),
        pytest.param(
            ["--backend-config=,a=b"],
            'Bad option: "--backend-config".\nNo backend specified. --backend-config option format '
            "is <backend name>,<setting>=<value> or <setting>=<value>. Got ,a=b",
            id="17",
        ),
        pytest.param(
            ["--rate-limit-resource=x"],
            'Bad option: "--rate-limit-resource".\n--rate-limit-resource option format is '
            "'<resource_name>:<count>:<device>' or '<resource_name>:<count>'. Got x",
            id="18",
        ),
        pytest.param(
            ["--trace-config=level=bogus"],
            'Bad option: "--trace-config level".\ninvalid value for trace level option: bogus',
            id="19",
        ),
    ],
)
def test_a_bad_command_line_is_refused_in_tritons_words(arguments, message):
    with pytest.raises(UsageError) as caught:
        read(*arguments)
    assert str(caught.value) == message


def test_1_no_repository_is_an_error_of_the_server():
    with pytest.raises(CreationError, match="^--model-repository must be specified$"):
        read_serve([], environment={}, version="")


def test_6_trailing_garbage_of_a_number_is_taken_as_stoi_takes_it():
    assert settings_of("--http-port=12abc").http_port == 12


def test_9_the_wildcard_stands_alone():
    with pytest.raises(CreationError) as caught:
        read("--model-control-mode=explicit", "--load-model=*", "--load-model=a")
    assert caught.value.line == (
        "error: creating server: Invalid argument - Wildcard model name '*' must be the ONLY "
        "startup model if specified at all."
    )


def test_22_repositories_are_sorted_and_each_counts_once():
    settings = settings_of("--model-store=/z", "--model-repository=/a/", "--model-repository=/z")
    assert settings.model_repositories == ("/a", "/models", "/z")


def test_the_last_of_several_values_wins():
    assert settings_of("--http-port=1", "--http-port=2").http_port == 2


def test_names_to_load_are_a_set():
    settings = settings_of(
        "--model-control-mode=EXPLICIT", "--load-model=b", "--load-model=a", "--load-model=b"
    )
    assert settings.model_control_mode is ModelControlMode.EXPLICIT
    assert settings.load_models == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ([], 0),
        (["--repository-poll-secs=3"], 0),
        (["--model-control-mode=poll"], 15),
        (["--model-control-mode=poll", "--repository-poll-secs=-1"], 0),
    ],
)
def test_the_repository_is_polled_only_in_poll_mode(arguments, seconds):
    assert settings_of(*arguments).repository_poll_secs == seconds


def test_negative_grace_and_thread_counts_are_lifted():
    settings = settings_of("--exit-timeout-secs=-5", "--model-load-thread-count=0")
    assert settings.exit_timeout_secs == 0
    assert settings.model_load_thread_count == 1


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [
        ([], "info warning error"),
        (["--log-verbose=1"], "debug info warning error"),
        (["--log-verbose=true"], "debug info warning error"),
        (["--log-info=false"], "warning error"),
        (["--log-info=0", "--log-warning=0"], "error"),
        (["--log-info=0", "--log-warning=0", "--log-error=0"], ""),
        (["--log-warning=false"], "info error"),
        (["--log-error=false"], "info warning"),
        (["--log-verbose=2", "--log-info=0", "--log-error=0"], "debug warning"),
    ],
)
def test_each_of_tritons_log_switches_is_for_itself(arguments, levels):
    assert written_levels(settings_of(*arguments).log) == {
        LogLevel(word) for word in levels.split()
    }


@pytest.mark.parametrize("word", ["default", "ISO8601", "json"])
def test_log_formats(word):
    assert settings_of(f"--log-format={word}").log.log_format == word


def test_log_format_is_case_sensitive():
    with pytest.raises(UsageError, match="invalid argument for --log-format"):
        read("--log-format=iso8601")


@pytest.mark.parametrize(
    "argument",
    [
        "--model-namespacing=true",
        "--cache-config=local,size=1048576",
        "--response-cache-byte-size=1048576",
        "--allow-sagemaker=true",
    ],
)
def test_a_feature_that_is_not_there_is_refused_with_the_reason(argument):
    with pytest.raises(UsageError) as caught:
        read(argument)
    name = argument.partition("=")[0]
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "argument",
    [
        "--rate-limit=OFF",
        "--allow-sagemaker=false",
    ],
)
def test_a_feature_that_is_not_there_may_be_switched_off(argument):
    read(argument)


@pytest.mark.parametrize(
    "argument",
    [
        "--http-thread-count=16",
        "--backend-config=python,shm-default-byte-size=1048576",
        "--backend-directory=/opt/x",
        "--pinned-memory-pool-byte-size=0",
        "--cuda-memory-pool-byte-size=0:67108864",
        "--allow-gpu-metrics=false",
    ],
)
def test_a_flag_that_can_not_matter_is_taken_with_a_warning(argument):
    name = argument.partition("=")[0]
    assert any(warning.startswith(f"{name} changes nothing") for warning in read(argument).warnings)


@pytest.mark.parametrize(
    ("argument", "is_told"),
    [
        ("--metrics-config=counter_latencies=false", False),
        ("--metrics-config=counter_latencies=true", True),
        ("--metrics-config=summary_latencies=false", True),
        ("--metrics-config=summary_quantiles=0.5:0.05", True),
    ],
)
def test_the_counters_of_latencies_may_be_left_out(argument, is_told):
    assert settings_of(argument).metrics_counter_latencies is is_told


def test_metrics_have_their_own_settings():
    settings = settings_of(
        "--allow-metrics=0", "--metrics-address=::1", "--metrics-port=9", "--metrics-endpoint=/m",
        "--metrics-interval-ms=5", "--allow-cpu-metrics=false",
    )  # fmt: skip
    assert (settings.allow_metrics, settings.allow_cpu_metrics) == (False, False)
    assert (settings.metrics_address, settings.metrics_port) == ("::1", 9)
    assert (settings.metrics_endpoint, settings.metrics_interval_ms) == ("/m", 5)


def test_an_open_address_is_warned_about():
    for place in ("0.0.0.0:8000", "0.0.0.0:8001"):
        assert any(place in warning for warning in read().warnings)
    local = read("--http-address=127.0.0.1", "--grpc-address=127.0.0.1").warnings
    assert not any("every interface" in warning for warning in local)


def test_equal_ports_on_different_addresses_are_allowed():
    settings = settings_of("--http-port=8001", "--http-address=127.0.0.1")
    assert settings.metrics_address == "127.0.0.1"


def test_a_deprecated_flag_still_acts_and_is_warned_about():
    reading = read("--strict-model-config=true")
    assert reading.settings.disable_auto_complete_config
    assert any("has been deprecated" in warning for warning in reading.warnings)


def test_arena_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(UsageError, match="--arena-max-bytes=65536 is less than"):
        read("--arena-max-bytes=65536")


def test_a_flag_goes_before_its_environment_variable():
    environment = {"MPSERVE_HTTP_PORT": "9000", "MPSERVE_FRONTENDS": "3"}
    settings = read("--http-port=9100", environment=environment).settings
    assert (settings.http_port, settings.frontends) == (9100, 3)


def test_a_bad_environment_variable_is_named():
    with pytest.raises(ConfigError, match="^MPSERVE_HTTP_PORT: Invalid option value. Got x$"):
        read(environment={"MPSERVE_HTTP_PORT": "x"})


def test_metadata_is_tritons():
    settings = settings_of("--id=mine")
    assert settings.server_name == "mine"
    assert settings.server_version == "9.9"
    assert settings.extensions[0] == "classification"
