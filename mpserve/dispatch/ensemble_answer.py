"""What an ensemble answers. Shapes only, with the attributes that the core's have."""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from mpserve.shm.dispatcher import Answer


class EnsembleOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One output; attributes as of the core's `OutputTensor`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any  # a buffer: memory of the client's request or of the model that made it
    parameters_json: str = ""


class EnsembleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; attributes as of the core's `Answer`."""

    model_name: str
    model_version: str
    request_id: str = ""
    code: int = 0
    error: str = ""
    final: bool = True
    is_mark: bool = False
    wants_input: bool = False
    parameters_json: str = ""
    headers: bytes = b""
    outputs: tuple[EnsembleOutput, ...] = ()
    times: tuple[int, int, int, int] = (0, 0, 0, 0)  # no instance has had it


AnyAnswer: TypeAlias = Answer | EnsembleAnswer
OnAnswer: TypeAlias = Callable[[AnyAnswer], None]
