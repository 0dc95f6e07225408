"""How the memory limit of a model is written."""

import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.memory_limit import memory_limit


@pytest.mark.parametrize(("value", "limit"), [("0", 0), (0, 0), ("512", 512), (2048, 2048)])
def test_a_limit_is_a_whole_number_of_mebibytes(value, limit):
    assert memory_limit(value, where="it") == limit


@pytest.mark.parametrize("value", ["-1", -1, "1.5", 1.5, "much", "", None, True, "٣"])
def test_anything_else_is_refused(value):
    with pytest.raises(InvalidRequest, match="it must be a whole number of MiB, 0 for no limit"):
        memory_limit(value, where="it")
