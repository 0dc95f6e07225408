"""Body of an HTTP error answer in each of the forms the peers use."""

from typing import Final

import orjson

from mpserve.dialect.statuses import BodyForm, StatusRow


def error_body(row: StatusRow, message: str) -> bytes:
    """Return the JSON body that tells `message` in the form of `row`.

    Parameters
    ----------
    row
        Cell of the error table; its `fixed_message` wins over `message`.
    message
        What was wrong, where, and what would be right. Lone surrogates are replaced, because a
        client's bytes may be quoted in it.
    """
    text = row.fixed_message or message
    try:
        return _encode(row.form, text)
    except orjson.JSONEncodeError:
        return _encode(row.form, text.encode("utf-8", "replace").decode())


def _encode(form: BodyForm, text: str) -> bytes:
    return orjson.dumps({_MEMBER[form]: _wrapped(form, text)})


def _wrapped(form: BodyForm, text: str) -> object:
    if form is BodyForm.DETAIL_LIST:
        return [{"type": "value_error", "loc": ["body"], "msg": text, "input": None}]
    return text


_MEMBER: Final = {
    BodyForm.ERROR: "error",
    BodyForm.DETAIL: "detail",
    BodyForm.DETAIL_LIST: "detail",
}
