import pytest

from mpserve.errors import InvalidRequest
from mpserve.frontend.handlers.version import any_version, version_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("", ""), ("1", "1"), ("0", "0"), ("-00", "0"), ("007", "7"), (" 5", "5"),
     ("+3", "3"), ("12abc", "12"),
     (str(2**63 - 1), str(2**63 - 1))],
)  # fmt: skip
def test_a_version_is_what_stol_reads(text, number):
    assert version_number(text) == number


@pytest.mark.parametrize("text", ["x", " ", "-", str(2**63), "9" * 40])
def test_what_stol_does_not_read_is_told_so(text):
    with pytest.raises(InvalidRequest, match=r"\(details: stol\), version should be an integral"):
        version_number(text)


def test_a_negative_version_has_its_own_text():
    with pytest.raises(InvalidRequest, match="^invalid model version specified '-2' , version"):
        version_number("-2")


def test_a_word_is_a_version_in_mlserver():
    assert any_version("v0.1.0") == "v0.1.0"
