"""`mpserve serve` and `start`: exit codes and streams, without a server."""

import pytest
from click.testing import CliRunner

from mpserve.cli.main import main
from mpserve.cli.serve import serve


def run(*words, environment=None):
    return CliRunner(env=environment).invoke(main, words)


def test_serve_help_is_usage_on_standard_error_with_exit_code_1():
    outcome = run("serve", "--help")
    assert outcome.exit_code == 1
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("Usage: mpserve serve [options]")


def test_start_help_is_usage_on_standard_output():
    outcome = run("start", "--help")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("Usage: mpserve start FOLDER [options]")


def test_an_unknown_flag_shows_the_usage_and_the_reason_last():
    outcome = run("serve", "--xyzzy")
    assert outcome.exit_code == 1
    lines = outcome.stderr.splitlines()
    assert lines[0] == "Usage: mpserve serve [options]"
    assert lines[-1] == "unrecognized option '--xyzzy'"


def test_a_bad_value_ends_with_tritons_two_lines():
    outcome = run("serve", "--model-repository=/m", "--model-control-mode=x")
    assert outcome.exit_code == 1
    assert outcome.stderr.splitlines()[-2:] == [
        'Bad option: "--model-control-mode".',
        "invalid argument for --model-control-mode",
    ]


def test_no_repository_is_one_line_and_exit_code_1():
    outcome = run("serve")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        "error: creating server: Invalid argument - --model-repository must be specified\n"
    )


def test_start_without_a_folder_says_what_it_needs():
    outcome = run("start")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("mpserve start: one FOLDER is needed, 0 were given")


def test_a_bad_environment_variable_is_one_line():
    outcome = run("serve", "--model-repository=/m", environment={"MPSERVE_FRONTENDS": "0"})
    assert outcome.exit_code == 1
    assert outcome.stderr == "mpserve: MPSERVE_FRONTENDS: 0 is out of range, 1 to 64 is allowed\n"


def test_a_log_file_that_can_not_be_written_is_named(tmp_path):
    path = tmp_path / "missing" / "log"
    outcome = run("serve", "--model-repository=/m", f"--log-file={path}")
    assert outcome.exit_code == 1
    assert outcome.stderr == f"mpserve: --log-file '{path}': No such file or directory\n"


def test_the_version_is_told():
    assert run("--version").stdout.startswith("mpserve, version ")


def test_an_unknown_subcommand_is_refused():
    assert run("frobnicate").exit_code == 2


@pytest.mark.parametrize(
    "name", ["--http-port", "--model-repository", "--disable-auto-complete-config"]
)
def test_click_knows_the_options_for_completion(name):
    assert name in {option for parameter in serve.params for option in parameter.opts}
