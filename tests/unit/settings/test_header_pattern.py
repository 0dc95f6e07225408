"""Patterns of header names: taken, refused, and quick whatever the name."""

import time

import pytest

from mpserve.settings.header_pattern import MAX_NAME_BYTES, compile_header_pattern
from mpserve.settings.values import BadValue
from tests.fixtures.pace import within


@pytest.mark.parametrize(
    ("pattern", "name", "is_found"),
    [
        ("^x-.*", "X-Trace", True),
        ("^x-.*", "my-X-Trace", False),
        ("trace", "X-Trace-Id", True),
        ("^(x-a|x-b)$", "x-B", True),
        ("^(?:x-a|x-b)$", "x-C", False),
        ("tenant|user", "X-User", True),
        (".*a.*b", "xaxb", True),
        (r"^x-\d{1,3}$", "x-42", True),
        (r"^x\+y$", "x+y", True),
        ("^[a-z-]+$", "Content-Type", True),
        ("(?i)abc", "ABC", True),
        ("a?b?c?", "", True),
        ("(ab){3}", "ababab", True),
        ("(ab)*c", "ababc", True),
        ("[]a]", "]", True),
    ],
)
def test_a_pattern_is_searched_in_any_case(pattern, name, is_found):
    assert bool(compile_header_pattern(pattern).search(name)) is is_found


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a+)+$", "too many ways"),
        ("(a|a)*$", "too many ways"),
        ("(a?){20}a{20}", "too many ways"),
        ("(a|b|ab){9}", "too many ways"),
        (".*.*.*x", "too many ways"),
        ("a?" * 30, "too many ways"),
        ("x{1,40}x{1,40}x{1,40}", "too many ways"),
        (r"(a)\1", "references"),
        ("(?P<n>a)(?P=n)", "references"),
        ("a(?=b)", "looking"),
        ("(?<!a)b", "looking"),
        ("(?>a)", "atomic"),
        ("a++", "atomic"),
        ("[[:alpha:]]", "POSIX"),
        ("(a", "unterminated"),
        ("*a", "nothing to repeat"),
        (r"\pL", "bad escape"),
    ],
)
def test_a_pattern_that_is_none_or_slow_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(BadValue, match=reason):
        compile_header_pattern(pattern)


@pytest.mark.parametrize("pattern", ["a.*a.*b", "a*a*b", "(x|y)?a{1,16}a*b"])
def test_what_is_taken_is_quick_for_the_worst_name(pattern):
    found = compile_header_pattern(pattern)
    began = time.process_time()
    found.search("a" * MAX_NAME_BYTES)
    assert time.process_time() - began < within(0.5)
