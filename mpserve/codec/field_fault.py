"""What is wrong with a member of a JSON body, told as MLServer tells it (FastAPI's `detail` list).

Source: MLServer 1.7.1 as seen running; its words are pydantic's.
"""

from collections.abc import Sized
from typing import Any, Final

import msgspec
import orjson

from mpserve.errors import MalformedRequest

_SHOWN_BYTES: Final = 2048  # of the value that was wrong; a whole tensor is not sent back


class FieldFault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes
    ----------
    type
        pydantic's name of the fault.
    loc
        Where: "body", then member names and indices.
    input
        The value that was wrong.
    ctx
        Values that the message was made from.
    """

    type: str
    loc: tuple[str | int, ...]
    msg: str
    input: Any = None  # whatever JSON value the client sent
    ctx: dict[str, str] | None = None


class InvalidFields(MalformedRequest):
    """A body with faults; `faults` has all of them."""

    def __init__(self, *faults: FieldFault) -> None:
        first = faults[0]
        place = ".".join(map(str, first.loc))
        super().__init__(f"{place}: {first.msg}")
        self.faults = faults


def detail_body(faults: tuple[FieldFault, ...]) -> bytes:
    """Return the HTTP body that tells the faults."""
    return orjson.dumps({"detail": [_detail(fault) for fault in faults]})


def _detail(fault: FieldFault) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": fault.type,
        "loc": fault.loc,
        "msg": fault.msg,
        "input": fault.input if len(orjson.dumps(fault.input)) <= _SHOWN_BYTES else None,
    }
    return shown if fault.ctx is None else {**shown, "ctx": fault.ctx}


def missing(*loc: str | int, found: object = None) -> FieldFault:
    """Return the fault of a member that is not there."""
    return FieldFault(type="missing", loc=loc, msg="Field required", input=found)


def not_an_object(*loc: str | int, found: object) -> FieldFault:
    """Return the fault of a value that should be an object."""
    return FieldFault(
        type="model_attributes_type",
        loc=loc,
        msg="Input should be a valid dictionary or object to extract fields from",
        input=found,
    )


def wrong_type(word: str, phrase: str, *loc: str | int, found: object) -> FieldFault:
    """Return the fault of a value of another JSON type: `list_type`, "list", and so on."""
    return FieldFault(type=word, loc=loc, msg=f"Input should be a valid {phrase}", input=found)


def too_long(limit: int, *loc: str | int, found: Sized) -> FieldFault:
    """Return the fault of a list with more items than can be."""
    msg = f"List should have at most {limit} items after validation, not {len(found)}"
    return FieldFault(type="too_long", loc=loc, msg=msg)


def invalid_json(at: int, reason: str) -> FieldFault:
    """Return the fault of a body that is no JSON."""
    return FieldFault(
        type="json_invalid",
        loc=("body", at),
        msg="JSON decode error",
        input={},
        ctx={"error": reason},
    )
