"""Command-line words are sorted as `getopt_long` does."""

import pytest

from mpserve.settings.arguments import HelpWanted, UsageError, sort_arguments
from mpserve.settings.reading import SERVE_FLAGS


def sort(*words):
    return sort_arguments(words, flags=SERVE_FLAGS)


@pytest.mark.parametrize(
    "words",
    [
        ("--http-port=1",),
        ("--http-port", "1"),
        ("--http-po", "1"),
        ("--http-p=1",),
    ],
)
def test_a_value_may_stand_apart_and_a_name_may_be_shortened(words):
    assert sort(*words).texts == {"http-port": ("1",)}


def test_values_of_one_flag_keep_their_order():
    assert sort("--load-model=b", "--load-model=a").texts == {"load-model": ("b", "a")}


def test_an_alias_is_its_flag():
    assert sort("--model-store=/m").texts == {"model-repository": ("/m",)}


def test_flags_and_other_words_may_be_mixed_until_two_dashes():
    arguments = sort("one", "--http-port=1", "two", "--", "--three")
    assert arguments.words == ("one", "two", "--three")


def test_an_unambiguous_beginning_of_a_name_and_its_alias_is_their_flag():
    assert sort("--model-repo=x").texts == {"model-repository": ("x",)}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--frobnicate",), "unrecognized option '--frobnicate'"),
        (("--frontendz=1",), "did you mean '--frontends'?"),
        (("--http=1",), "option '--http' is ambiguous"),
        (("--http-port",), "option '--http-port' requires an argument"),
        (("--disable-auto-complete-config=1",), "doesn't allow an argument"),
        (("-p", "1"), "invalid option -- 'p'"),
    ],
)
def test_a_flag_that_can_not_be_understood_is_named(words, complaint):
    with pytest.raises(UsageError) as caught:
        sort(*words)
    assert complaint in str(caught.value)


def test_help_is_an_outcome():
    with pytest.raises(HelpWanted):
        sort("--help")
