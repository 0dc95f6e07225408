"""`mpserve models` against a small real HTTP server."""

import json

import pytest
from click.testing import CliRunner

from mpserve.cli.main import main


def run(peer, *words):
    return CliRunner().invoke(main, ["models", *words, "--url", peer.url])


def test_list_prints_a_row_for_each_model(peer):
    outcome = run(peer, "list")
    assert outcome.exit_code == 0
    rows = [line.split() for line in outcome.stdout.splitlines()]
    assert rows == [
        ["Model", "Version", "State", "Reason"],
        ["a", "1", "READY"],
        ["b", "2", "UNAVAILABLE", "no", "[module]", "x"],
        ["never-loaded", "-", "-"],
    ]


def test_list_prints_json_for_scripts(peer):
    rows = json.loads(run(peer, "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["a", "b", "never-loaded"]
    assert rows[1]["reason"] == "no [module] x"


def test_load_calls_the_server_for_each_name(peer):
    peer.answers["/v2/repository/models/a/load"] = (200, b"")
    peer.answers["/v2/repository/models/b%20c/load"] = (200, b"")
    outcome = run(peer, "load", "a", "b c")
    assert (outcome.exit_code, outcome.stdout) == (0, "a: loaded\nb c: loaded\n")


def test_unload_calls_the_server(peer):
    peer.answers["/v2/repository/models/a/unload"] = (200, b"")
    assert run(peer, "unload", "a").stdout == "a: unloaded\n"
    assert peer.asked == ["/v2/repository/models/a/unload"]


def test_a_refusal_is_told_with_its_status_and_reason(peer):
    peer.answers["/v2/repository/models/a/load"] = (400, b'{"error":"load failed for model"}')
    outcome = run(peer, "load", "a")
    assert outcome.exit_code == 1
    assert outcome.stderr == f"mpserve models: {peer.url}: 400 load failed for model\n"


def test_an_answer_that_is_no_index_is_told(peer):
    peer.answers["/v2/repository/index"] = (200, b"<html>")
    outcome = run(peer, "list")
    assert outcome.exit_code == 1
    assert "the answer is no repository index" in outcome.stderr


def test_a_server_that_is_not_there_is_told():
    outcome = CliRunner().invoke(main, ["models", "list", "--url", "http://127.0.0.1:1"])
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("mpserve models: http://127.0.0.1:1: no answer: ")


@pytest.mark.parametrize("url", ["ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(url):
    outcome = CliRunner().invoke(main, ["models", "list", "--url", url])
    assert outcome.exit_code == 1
    assert "is no http:// or https:// address" in outcome.stderr
