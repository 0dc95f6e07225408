"""`.env`, by the rules that MLServer's library has."""

import pytest

from mpserve.errors import ConfigError
from mpserve.settings.dotenv import parse_dotenv, with_dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("MLSERVER_X=3", "3"),
        ("  export MLSERVER_X = 3  ", "3"),
        ("mlserver_x=3", "3"),
        ("MLSERVER_X=a b # of these", "a b"),
        ("MLSERVER_X=a#b", "a#b"),
        ("MLSERVER_X=", ""),
        ("MLSERVER_X=# nothing", ""),
        ('MLSERVER_X="a # b" # c', "a # b"),
        (r'MLSERVER_X="a\nb\"c"', 'a\nb"c'),
        (r"MLSERVER_X='a\nb'", r"a\nb"),
        (r"MLSERVER_X='it\'s'", "it's"),
        ('MLSERVER_X=["a", "b"]', '["a", "b"]'),
        ("MLSERVER_X=$HOME", "$HOME"),
    ],
)
def test_a_line_is_a_variable(line, value):
    assert parse_dotenv(line, path=".env") == {"MLSERVER_X": value}


@pytest.mark.parametrize("line", ["", "# MLSERVER_X=3", "OTHER=3", "words", "MPSERVE_HTTP_PORT=3"])
def test_other_lines_are_passed_over(line):
    assert parse_dotenv(line, path=".env") == {}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('MLSERVER_X="a', "not closed"),
        ("MLSERVER_X='a' b", "something follows"),
        ("MLSERVER_X=${HOME}/a", "is not filled in"),
    ],
)
def test_a_line_that_can_not_be_read_is_named(line, text):
    with pytest.raises(ConfigError, match=rf"^\.env:2: .*{text}"):
        parse_dotenv(f"A=1\n{line}\n", path=".env")


def test_the_last_of_several_wins():
    assert parse_dotenv("MLSERVER_X=1\nMLSERVER_X=2", path="") == {"MLSERVER_X": "2"}


def test_the_environment_goes_before_the_file(tmp_path):
    (tmp_path / ".env").write_text("MLSERVER_A=1\nMLSERVER_B=2\n")
    found = with_dotenv({"MLSERVER_A": "3", "HOME": "/"}, folder=tmp_path)
    assert found == {"MLSERVER_A": "3", "MLSERVER_B": "2", "HOME": "/"}


def test_there_need_be_no_file(tmp_path):
    assert with_dotenv({"A": "1"}, folder=tmp_path) == {"A": "1"}


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"\.env: "):
        with_dotenv({}, folder=tmp_path)
