"""Limits of executions as configurations say them."""

import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.execution_limit import execution_limit


@pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("2.5", 2.5), (3, 3), (0.5, 0.5)])
def test_a_number_of_seconds(value, seconds):
    assert execution_limit(value, where="here") == seconds


@pytest.mark.parametrize("value", ["", "soon", "-1", -1, "inf", "nan", None, [1]])
def test_anything_else_is_refused_with_the_place(value):
    with pytest.raises(InvalidRequest, match="here must be a number of seconds"):
        execution_limit(value, where="here")
