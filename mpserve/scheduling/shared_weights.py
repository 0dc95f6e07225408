"""Whether the instances of a model are forks of one load. Pure."""

from typing import Final

from mpserve.errors import LoadError
from mpserve.model.config import SHARE_WEIGHTS_PARAMETER, ModelConfig

_WORDS: Final = {"true": True, "false": False, "": False}


def shares_weights(config: ModelConfig) -> bool:
    """Return what the parameter of a model says.

    Raises
    ------
    LoadError
        It is neither `true` nor `false`.
    """
    word = config.parameters.get(SHARE_WEIGHTS_PARAMETER, "")
    try:
        return _WORDS[word.strip().lower()]
    except KeyError:
        raise LoadError(
            f"parameter '{SHARE_WEIGHTS_PARAMETER}' is '{word}'; use true or false"
        ) from None
