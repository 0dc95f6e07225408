import pytest

from mpserve.errors import LoadError
from mpserve.model.config import ModelConfig
from mpserve.scheduling.shared_weights import shares_weights


@pytest.mark.parametrize(
    ("parameters", "shares"),
    [
        ({}, False),
        ({"MPSERVE_SHARE_WEIGHTS": "true"}, True),
        ({"MPSERVE_SHARE_WEIGHTS": " True "}, True),
        ({"MPSERVE_SHARE_WEIGHTS": "false"}, False),
    ],
    ids=["absent", "true", "as Python writes it", "false"],
)
def test_a_parameter_says_it(parameters, shares):
    assert shares_weights(ModelConfig(parameters=parameters)) is shares


def test_another_word_is_refused():
    with pytest.raises(LoadError, match="'1'; use true or false"):
        shares_weights(ModelConfig(parameters={"MPSERVE_SHARE_WEIGHTS": "1"}))
