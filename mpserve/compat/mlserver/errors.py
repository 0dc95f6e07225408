"""Errors of `mlserver.errors` and `mlserver.codecs.errors`, with the peer's words and statuses."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpserve.compat.mlserver.types import RequestInput


class MLServerError(Exception):
    """Base of the errors a model may raise on purpose; `status_code` is an HTTP status."""

    def __init__(self, msg: str, status_code: int = 400) -> None:
        super().__init__(msg)
        self.status_code = status_code


class InferenceError(MLServerError):
    """The request can not be answered by this model."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)


class InvalidModelURI(MLServerError):
    """No artifact lies where the settings say."""

    def __init__(self, name: str, model_uri: str | None = None) -> None:
        where = f" ({model_uri})" if model_uri else ""
        super().__init__(f"Invalid URI specified for model {name}{where}", 422)


class ModelNotFound(MLServerError):
    """No such model or version."""

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"{_model(name, version)} not found", 404)


class ModelNotReady(MLServerError):
    """The model is known, but not loaded yet."""

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"{_model(name, version)} is not ready yet.")


class ModelParametersMissing(MLServerError):
    """The settings have no `parameters`."""

    def __init__(self, model_name: str) -> None:
        super().__init__(f"Parameters missing for model {model_name}")


class InvalidModelContext(MLServerError):
    """`log` or `register` was called where no model is known."""

    def __init__(self) -> None:
        super().__init__(
            "Contextual method (e.g. mlserver.log() or mlserver.register()) was called outside of"
            " a model context.",
            500,
        )


class MetricNotFound(MLServerError):
    """There is no metric of a name, or it is none that models keep."""

    def __init__(self, metric_name: str, collector: object = None) -> None:
        kind = f"; it is a {type(collector).__name__}" if collector else ""
        super().__init__(f"No metric found with name '{metric_name}'{kind}", 500)


class CodecError(MLServerError):
    """A payload can not be encoded or decoded."""

    def __init__(self, msg: str) -> None:
        super().__init__(f"There was an error encoding / decoding the payload: {msg}")


class CodecNotFound(MLServerError):
    """No codec takes the payload, the content type or the type hint."""

    def __init__(
        self,
        name: str | None = None,
        payload_type: str | None = None,
        is_input: bool = False,  # noqa: FBT001, FBT002  # the peer's signature
        is_request: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        side = "input" if is_input else "output"
        part = ("request" if is_input else "response") if is_request else "field"
        known = [f"name '{name}'"] if name else []
        known += [f"type {payload_type}"] if payload_type else []
        described = f"with {' and '.join(known)}" if known else ""
        super().__init__(f"Codec not found for {side} {part} {described}")


class InputsNotFound(MLServerError):
    """The request has inputs that no argument of `predict` is named after."""

    def __init__(self, inputs: Sequence[RequestInput], input_hints: Mapping[str, Any]) -> None:
        names = ", ".join(f"'{request_input.name}'" for request_input in inputs)
        known = ", ".join(f"'{name}'" for name in input_hints)
        super().__init__(f"Input {names} was not found. Available inputs are {known}.")


class OutputNotFound(MLServerError):
    """`predict` returned a value that its annotation does not announce."""

    def __init__(self, output_idx: int, output_type: type, output_hints: Sequence[Any]) -> None:
        known = ", ".join(f"'{hint}'" for hint in output_hints)
        super().__init__(
            f"Unexpected output value at position '{output_idx}' ({output_type})."
            f" Expected outputs are {known} outputs."
        )


def _model(name: str, version: str | None) -> str:
    return f"Model {name} with version {version}" if version else f"Model {name}"
