"""Parameters of protobuf messages (`map<string, InferParameter>`) <-> a JSON object.

Messages are `Any` here: protobuf makes their fields at run time.
"""

from typing import Any, Final

import orjson

_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1
_UINT64_MAX: Final = (1 << 64) - 1

Scalar = bool | int | float | str


def scalar(parameter: Any) -> Scalar | None:  # noqa: ANN401  a message
    """Return the value of one parameter, `None` when none was set."""
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def scalars(parameters: Any) -> dict[str, Scalar]:  # noqa: ANN401  a message's map
    """Return the parameters that have a value."""
    values = {name: scalar(parameter) for name, parameter in parameters.items()}
    return {name: value for name, value in values.items() if value is not None}


def fill(parameters: Any, json_text: str) -> None:  # noqa: ANN401  a message's map
    """Add the members of a JSON object to a message's parameters.

    What is no string, number or boolean has no place in the message and is left out, as MLServer
    leaves it out.

    Parameters
    ----------
    json_text
        "" for none.
    """
    if not json_text:
        return
    for name, value in orjson.loads(json_text).items():
        set_scalar(parameters, name, value)


def set_scalar(parameters: Any, name: str, value: object) -> None:  # noqa: ANN401  as `fill`
    """Add one parameter."""
    match value:
        case bool():
            parameters[name].bool_param = value
        case int() if _INT64_MIN <= value <= _INT64_MAX:
            parameters[name].int64_param = value
        case int() if 0 <= value <= _UINT64_MAX and _has(parameters, name, "uint64_param"):
            parameters[name].uint64_param = value
        case float() if _has(parameters, name, "double_param"):
            parameters[name].double_param = value
        case str():
            parameters[name].string_param = value
        case _:
            parameters.pop(name, None)


def _has(parameters: Any, name: str, field: str) -> bool:  # noqa: ANN401  as `fill`
    return field in parameters[name].DESCRIPTOR.fields_by_name
