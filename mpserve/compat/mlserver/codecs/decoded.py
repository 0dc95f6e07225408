# ruff: noqa: ANN401  # values are the users'
"""The decoded value of a tensor or a request, kept with it so that it is decoded once."""

from typing import Any, Final

from mpserve.compat.mlserver.shape import Shape
from mpserve.compat.mlserver.types import Parameters

DecodedParameterName: Final = "_decoded_payload"


def keep_decoded(owner: Shape, decoded: Any) -> Any:
    """Keep `decoded` in the parameters of `owner`, unseen by dumps, and return it."""
    if owner.parameters is None:  # type: ignore[attr-defined]  # every owner has parameters
        object.__setattr__(owner, "parameters", Parameters())
    object.__setattr__(owner.parameters, DecodedParameterName, decoded)  # type: ignore[attr-defined]
    return decoded


def has_decoded(parametrised_obj: Any) -> bool:
    """Say whether a decoded value is kept."""
    return hasattr(getattr(parametrised_obj, "parameters", None), DecodedParameterName)


def get_decoded(parametrised_obj: Any) -> Any:
    """Return the decoded value, or `None`."""
    parameters = getattr(parametrised_obj, "parameters", None)
    return getattr(parameters, DecodedParameterName, None)


def get_decoded_or_raw(parametrised_obj: Any) -> Any:
    """Return the decoded value, else the elements of a tensor, else the request itself."""
    if has_decoded(parametrised_obj):
        return get_decoded(parametrised_obj)
    return getattr(parametrised_obj, "data", parametrised_obj)


_save_decoded = keep_decoded
"""The peer's name for it, which codecs of users import from `mlserver.codecs.utils`."""
