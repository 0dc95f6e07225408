"""Texts become values by Triton's rules."""

import pytest

from mpserve.settings.values import (
    BadValue,
    parse_bool,
    parse_integer,
    parse_number,
    parse_verbosity,
)


@pytest.mark.parametrize("text", ["true", "TRUE", "on", "On", "1"])
def test_words_for_yes(text):
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["false", "False", "off", "0"])
def test_words_for_no(text):
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["maybe", "yes", "", "2", " true"])
def test_other_words_are_no_truth_values(text):
    with pytest.raises(BadValue, match=f"^invalid value for bool option: {text}$"):
        parse_bool(text)


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("12abc", 12), ("  -3", -3), ("+4", 4), ("7.9", 7)]
)
def test_an_integer_is_read_as_stoi_reads_it(text, value):
    assert parse_integer(text) == value


@pytest.mark.parametrize("text", ["abc", "", "-", "x1"])
def test_a_text_without_a_leading_integer_is_refused(text):
    with pytest.raises(BadValue, match=f"^Invalid option value. Got {text}$"):
        parse_integer(text)


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", "9" * 5000])
def test_an_integer_beyond_its_width_is_out_of_bound(text):
    with pytest.raises(BadValue, match="^Provided option value is out of bound. Got "):
        parse_integer(text)


def test_the_smallest_and_largest_integers_fit():
    assert parse_integer("2147483647") == 2147483647
    assert parse_integer("-2147483648") == -2147483648


@pytest.mark.parametrize(("text", "value"), [("true", 1), ("false", 0), ("3", 3)])
def test_verbosity_is_a_number_or_a_truth_value(text, value):
    assert parse_verbosity(text) == value


def test_a_number_may_have_a_fraction():
    assert parse_number("6.5x") == 6.5
    with pytest.raises(BadValue):
        parse_number("x")
