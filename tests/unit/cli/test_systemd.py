"""`mpserve systemd`: what stands in the unit of the service."""

import pytest
from click.testing import CliRunner

from mpserve.cli.main import main


def lines_of(folder):
    printed = CliRunner().invoke(main, ["systemd", "print", f"--model-repository={folder}"])
    assert printed.exit_code == 0
    return printed.stdout.splitlines()


@pytest.mark.parametrize(
    ("folder", "in_command", "in_path"),
    [
        pytest.param("/srv/models", "--model-repository=/srv/models", "/srv/models", id="as it is"),
        pytest.param(
            "/srv/my models",
            '"--model-repository=/srv/my models"',
            '"/srv/my models"',
            id="a blank divides words",
        ),
        pytest.param(
            "/srv/100%", "--model-repository=/srv/100%%", "/srv/100%%", id="% is a specifier"
        ),
        pytest.param(
            "/srv/$a", "--model-repository=/srv/$$a", "/srv/$a", id="$ is a variable in commands"
        ),
        pytest.param(
            '/srv/"\\',
            '"--model-repository=/srv/\\"\\\\"',
            '"/srv/\\"\\\\"',
            id="quotes and backslashes are quoted",
        ),
    ],
)
def test_any_folder_is_one_word(folder, in_command, in_path):
    lines = lines_of(folder)
    command = next(line for line in lines if line.startswith("ExecStart="))
    assert f" serve {in_command} --http-address=127.0.0.1" in command
    assert f"ReadOnlyPaths={in_path}" in lines


def test_a_folder_may_be_said_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"ReadOnlyPaths={tmp_path}/models" in lines_of("models")
