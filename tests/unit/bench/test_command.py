"""The command line: what it lists, and how it refuses."""

import pytest
from click.testing import CliRunner

from bench import allocators
from bench.__main__ import main
from bench.errors import UsageError
from bench.loading import closed_loop
from bench.names import choose


def test_names_are_taken_once_and_in_the_order_given():
    assert choose("b, a,b", ("a", "b", "c"), what="server") == ("b", "a")
    assert choose("all", ("a", "b"), what="server") == ("a", "b")


@pytest.mark.parametrize("wanted", ["", ",", "nope", "a,nope"])
def test_an_unknown_name_is_refused_with_those_that_exist(wanted):
    with pytest.raises(UsageError, match="names no server; there are: a, b"):
        choose(wanted, ("a", "b"), what="server")


def test_a_measurement_of_its_own_has_help_and_measures_nothing_when_asked_wrongly():
    shown = CliRunner().invoke(allocators.main, ["--help"])
    assert (shown.exit_code, "three minutes" in shown.output) == (0, True)
    assert CliRunner().invoke(allocators.main, ["extra"]).exit_code == 2


def test_a_listing_names_servers_and_scenarios():
    shown = CliRunner().invoke(main, ["--list"])

    assert shown.exit_code == 0
    assert "mlserver-0" in shown.output
    assert "json16_c16" in shown.output


@pytest.mark.parametrize(
    "arguments",
    [["--servers", "x"], ["--scenarios", "x"], ["--rounds", "0"], ["--seconds", "0.5"], ["extra"]],
    ids=" ".join,
)
def test_a_wrong_argument_ends_with_2(arguments):
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_a_missing_load_generator_ends_with_2_before_anything_is_installed(monkeypatch):
    monkeypatch.setattr(closed_loop.shutil, "which", lambda _program: None)

    shown = CliRunner().invoke(main, ["--servers", "triton", "--scenarios", "json16_c1"])

    assert shown.exit_code == 2
    assert "apt-get install -y wrk" in shown.output
