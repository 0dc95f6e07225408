"""The settings file: values of flags, below flags and environment, above the rest."""

import json

import pytest

from mpserve.errors import ConfigError
from mpserve.settings import Category
from mpserve.settings.reading import read_serve, read_start


@pytest.fixture
def read(tmp_path):
    def read_with(content, *flags, environment=None):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        arguments = ["--model-repository=/m", f"--settings-file={path}", *flags]
        return read_serve(arguments, environment=environment or {}, version="1").settings

    return read_with


def test_values_of_every_kind_are_taken(read):
    settings = read(
        {
            "http-port": 9000,
            "exit-on-error": False,
            "log-format": "json",
            "model-control-mode": "explicit",
            "load-model": ["b", "a"],
            "http-restricted-api": "logging,trace:key=a,b",
        }
    )
    assert settings.http_port == 9000
    assert settings.exit_on_error is False
    assert settings.log.log_format == "json"
    assert settings.load_models == ("a", "b")
    restricted = {row.category: row.value for row in settings.http.restrictions}
    assert restricted == {Category.LOGGING: "a,b", Category.TRACE: "a,b"}


def test_flags_and_environment_go_before_it(read):
    file = {"http-port": 9000, "grpc-port": 9001, "metrics-port": 9002}
    environment = {"MPSERVE_GRPC_PORT": "8101", "MPSERVE_HTTP_PORT": "8100"}
    settings = read(file, "--http-port=7000", environment=environment)
    assert (settings.http_port, settings.grpc.port, settings.metrics_port) == (7000, 8101, 9002)


def test_it_goes_before_what_mlserver_reads(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"http_port": 9000, "grpc_port": 9001}))
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"http-port": 9100}))
    settings = read_start(
        [str(tmp_path)],
        environment={"MPSERVE_SETTINGS_FILE": str(file), "MLSERVER_HTTP_PORT": "9200"},
        version="1",
    ).settings
    assert (settings.http_port, settings.grpc.port) == (9100, 9001)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[]", "no JSON object of flags and their values"),
        ("{", "no JSON object of flags and their values"),
        ({"http_port": 1}, "'http_port' is no flag of this command"),
        ({"settings-file": "x"}, "'settings-file' is no flag of this command that a file may hold"),
        ({"http-port": [1]}, "http-port: one value is needed, not a list"),
        ({"http-port": "x"}, "http-port: "),
        ({"http-port": 0}, "http-port: 0 is out of range"),
        ({"worker-user": "a\0b"}, "worker-user: the character U+0000 can not be used"),
        ({"exit-on-error": {}}, "no JSON object of flags and their values"),
    ],
)
def test_what_can_not_be_used_is_told_with_its_place(read, content, complaint):
    with pytest.raises(ConfigError, match="file.json") as raised:
        read(content)
    assert complaint in raised.value.message


def test_a_file_that_is_not_there_is_no_start():
    with pytest.raises(ConfigError, match="--settings-file '/none' can not be read: No such file"):
        read_serve(["--model-repository=/m", "--settings-file=/none"], environment={}, version="1")
