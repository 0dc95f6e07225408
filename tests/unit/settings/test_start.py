"""`mpserve start FOLDER` reads what MLServer reads."""

import json

import pytest

from mpserve.dialect import DialectName
from mpserve.errors import ConfigError
from mpserve.settings import ModelControlMode
from mpserve.settings.arguments import UsageError
from mpserve.settings.mlserver_fields import MLSERVER_FIELDS
from mpserve.settings.reading import read_start


@pytest.fixture
def read(tmp_path):
    def read_folder(*arguments, environment=None, file=None):
        if file is not None:
            content = file if isinstance(file, str) else json.dumps(file)
            (tmp_path / "settings.json").write_text(content)
        return read_start([str(tmp_path), *arguments], environment=environment or {}, version="9.9")

    return read_folder


def test_defaults_are_mlservers(read, tmp_path):
    settings = read().settings
    assert settings.dialect is DialectName.MLSERVER
    assert (settings.http_port, settings.grpc.port, settings.metrics_port) == (8080, 8081, 8082)
    assert settings.server_name == "mlserver"
    assert settings.extensions == ()
    assert settings.model_repositories == (str(tmp_path),)


def test_all_models_are_loaded_and_clients_may_change_that(read):
    settings = read().settings
    assert settings.model_control_mode is ModelControlMode.EXPLICIT
    assert settings.load_models == ("*",)


def test_one_broken_model_does_not_end_the_server(read):
    assert not read().settings.exit_on_error


def test_models_need_not_be_loaded_at_the_start(read):
    assert read(file={"load_models_at_startup": False}).settings.load_models == ()


def test_the_file_goes_before_the_environment_as_with_the_peer(read):
    settings = read(
        environment={"MLSERVER_HTTP_PORT": "9000", "MLSERVER_GRPC_PORT": "9001"},
        file={"http_port": 9100},
    ).settings
    assert (settings.http_port, settings.grpc.port) == (9100, 9001)


def test_a_flag_goes_before_the_environment(read):
    settings = read("--http-port=9200", environment={"MLSERVER_HTTP_PORT": "9000"}).settings
    assert settings.http_port == 9200


def test_environment_names_ignore_case(read):
    assert read(environment={"mlserver_http_port": "9000"}).settings.http_port == 9000


def test_metadata_comes_from_the_settings(read):
    settings = read(
        file={"server_name": "shop", "server_version": "2.0", "extensions": ["a", "b"]}
    ).settings
    assert (settings.server_name, settings.server_version) == ("shop", "2.0")
    assert settings.extensions == ("a", "b")


def test_lists_in_the_environment_are_json(read):
    settings = read(environment={"MLSERVER_EXTENSIONS": '["x"]'}).settings
    assert settings.extensions == ("x",)


def test_host_debug_and_structured_logging_are_understood(read):
    settings = read(
        file={"host": "127.0.0.1", "debug": True, "use_structured_logging": True}
    ).settings
    assert settings.http_address == "127.0.0.1"
    assert settings.log.verbose_level == 1
    assert settings.log.log_format == "json"


@pytest.mark.parametrize(
    "member",
    [
        {"kafka_enabled": True},
        {"cache_enabled": True},
        {"tracing_server": "otel:4317"},
        {"model_repository_implementation": "my.Repository"},
    ],
)
def test_a_setting_that_is_not_supported_is_refused_with_the_reason(read, member):
    (name,) = member
    with pytest.raises(ConfigError, match=f"^settings.json: {name}: "):
        read(file=member)


@pytest.mark.parametrize(
    "member", [{"kafka_enabled": False}, {"cors_settings": None}, {"root_path": ""},
               {"logging_settings": None}],
)  # fmt: skip
def test_a_setting_that_is_not_supported_may_be_off(read, member):
    read(file=member)


def test_a_setting_without_effect_is_warned_about(read):
    warnings = read(environment={"MLSERVER_METRICS_DIR": "/tmp"}).warnings
    assert any(line.startswith("MLSERVER_METRICS_DIR changes nothing") for line in warnings)


@pytest.mark.parametrize(
    ("environment", "file", "workers"),
    [
        ({}, {}, 1),
        ({}, {"parallel_workers": 3}, 3),
        ({"MLSERVER_PARALLEL_WORKERS": "2"}, {}, 2),
        ({"MLSERVER_PARALLEL_WORKERS": "2"}, {"parallel_workers": 3}, 3),
        ({}, {"parallel_workers": 0}, 0),
    ],
)
def test_parallel_workers_are_taken_without_a_warning(read, environment, file, workers):
    reading = read(environment=environment, file=file)
    assert reading.settings.parallel_workers == workers
    assert not any("parallel_workers" in line.lower() for line in reading.warnings)


def test_cors_is_read_and_its_gaps_are_filled_from_the_environment(read):
    cors = read(
        file={"cors_settings": {"allow_origins": ["https://a.example"], "max_age": 5}},
        environment={"MLSERVER_ALLOW_METHODS": '["POST"]', "MLSERVER_MAX_AGE": "9"},
    ).settings.http.cors
    assert (cors.allow_origins, cors.max_age) == (("https://a.example",), 5)
    assert (cors.allow_methods, cors.allow_credentials) == (("POST",), False)


def test_cors_stands_in_the_environment_as_json(read):
    text = '{"allow_origin_regex": "https://.*", "allow_credentials": true}'
    cors = read(environment={"MLSERVER_CORS_SETTINGS": text}).settings.http.cors
    assert (cors.allow_origin_regex, cors.allow_credentials) == ("https://.*", True)


def test_without_cors_settings_its_variables_are_not_looked_at(read):
    assert read(environment={"MLSERVER_ALLOW_ORIGINS": '["*"]'}).settings.http.cors is None


@pytest.mark.parametrize(
    ("written", "path"),
    [("/models", "/models"), ("models/", "/models"), ("/a/b", "/a/b"), ("/", ""), (None, "")],
)
def test_a_root_path_has_a_slash_before_it_and_none_behind(read, written, path):
    assert read(file={"root_path": written}).settings.http.root_path == path


def test_compression_may_be_off(read):
    assert read().settings.http.compresses
    assert not read(file={"gzip_enabled": False}).settings.http.compresses


def test_logging_is_read_from_a_file_or_from_the_settings_themselves(read, tmp_path):
    (tmp_path / "log.json").write_text('{"version": 1}')
    (tmp_path / "log.conf").write_text("[loggers]\n")
    as_json = read(file={"logging_settings": str(tmp_path / "log.json")}).settings.logging
    assert as_json.config_json == '{"version":1}'
    assert as_json.folders[0] == str(tmp_path)
    as_ini = read(file={"logging_settings": str(tmp_path / "log.conf")}).settings.logging
    assert (as_ini.config_json, as_ini.ini_path) == ("", str(tmp_path / "log.conf"))
    assert read(file={"logging_settings": {"version": 1}}).settings.logging == as_json
    assert not read(file={}).settings.logging.is_set


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        ({"cors_settings": ["*"]}, "no JSON object of CORS settings"),
        ({"cors_settings": {"max_age": "soon"}}, r"`int`.* at `\$.max_age`"),
        ({"cors_settings": {"allow_methods": ["GET X: y"]}}, "no name of a method or header"),
        ({"cors_settings": {"allow_origins": ["a b"]}}, "no origin"),
        ({"cors_settings": {"allow_origin_regex": "("}}, "allow_origin_regex"),
        ({"root_path": "/a b"}, "no path of a URL"),
        ({"root_path": 1}, "no path of a URL"),
        ({"logging_settings": "/nowhere/log.json"}, "there is no file"),
        ({"logging_settings": "{"}, "no JSON object, as dictConfig takes it"),
    ],
)
def test_a_setting_that_can_not_be_read_is_named_with_the_reason(read, member, complaint):
    (name,) = member
    with pytest.raises(ConfigError, match=f"^settings.json: {name}: .*{complaint}"):
        read(file=member)


def test_an_unknown_member_is_warned_about(read):
    assert any("'htp_port'" in line for line in read(file={"htp_port": 1}).warnings)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"MLSERVER_HTTP_PORT": "http"}, "^MLSERVER_HTTP_PORT: 'http' is no whole number$"),
        ({"MLSERVER_PARALLEL_WORKERS": "-1"}, "^MLSERVER_PARALLEL_WORKERS: '-1' is negative"),
        ({"MLSERVER_DEBUG": "maybe"}, "^MLSERVER_DEBUG: 'maybe' is no truth value"),
        ({"MLSERVER_EXTENSIONS": "a,b"}, "^MLSERVER_EXTENSIONS: 'a,b' is no JSON list"),
    ],
)
def test_a_bad_variable_is_named(read, environment, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read(environment=environment)


def test_a_broken_file_is_named(read):
    with pytest.raises(ConfigError, match="settings.json: no JSON object of settings"):
        read(file="{")


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_exactly_one_folder_is_needed(words):
    with pytest.raises(UsageError, match="one FOLDER is needed"):
        read_start(words, environment={}, version="")


def test_an_empty_folder_is_not_the_working_directory():
    with pytest.raises(UsageError, match="FOLDER '' is not a directory"):
        read_start([""], environment={}, version="")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="is not a directory"):
        read_start([str(tmp_path / "none")], environment={}, version="")


def test_every_field_of_mlservers_settings_is_known():
    declared = """
        debug parallel_workers parallel_workers_timeout environments_dir
        model_repository_implementation model_repository_root
        model_repository_implementation_args load_models_at_startup server_name server_version
        extensions host http_port root_path grpc_port grpc_max_message_length cors_settings
        metrics_endpoint metrics_port metrics_rest_server_prefix metrics_dir
        use_structured_logging logging_settings kafka_enabled kafka_servers kafka_topic_input
        kafka_topic_output tracing_server cache_enabled cache_size gzip_enabled
    """.split()
    assert {field.name for field in MLSERVER_FIELDS} == set(declared)


def test_a_file_of_the_working_directory_stands_in_for_the_environment(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        "MLSERVER_HTTP_PORT=9000\nMLSERVER_GRPC_PORT=9001\nMLSERVER_METRICS_PORT=9002\n"
        "MLSERVER_MODEL_PLATFORM=x\n"
    )
    environment = {"mlserver_grpc_port": "9003"}
    settings = read(environment=environment, file={"metrics_port": 9004}).settings
    assert (settings.http_port, settings.grpc.port, settings.metrics_port) == (9000, 9003, 9004)
    assert settings.model_environment == {"MLSERVER_MODEL_PLATFORM": "x"}
