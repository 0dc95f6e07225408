"""JSON text -> values, with the words and offsets of Triton's JSON reader for what is wrong.

orjson reads what is plain JSON. What it refuses is read again here, slowly, by the rules of
RapidJSON with its NaN and infinity words, so that the client gets the peer's exact message, and so
that `NaN`, `Infinity`, `-Infinity` and `Inf` are taken as the peer takes them. A member name that
occurs twice in an object is refused: readers differ in which one counts.

Guarantees: no recursion; time and memory are bounded whatever the text, by `MAX_WEIGHT` of what
orjson reads and `MAX_STEPS` of what is read slowly.
Source: RapidJSON's grammar and error texts, as Triton's server reports them.
"""

import re
from typing import Final, TypeAlias

import orjson

from mpserve.errors import InvalidRequest, MalformedRequest

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_DEPTH: Final = 1024  # what orjson takes; far beyond any tensor
MAX_STEPS: Final = 200_000  # about 0.2 s of an event loop; runs of numbers and strings are one step
# Of arrays and objects, four each, and strings: 64 MiB of nothing but `[],` took 20 s and 2 GiB.
MAX_WEIGHT: Final = 1 << 21
_CONTAINER_WEIGHT: Final = 4
TOO_DEEP: Final = "JSON nesting depth exceeds maximum allowed limit (100)"

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_NUMBER_PARTS: Final = re.compile(rb"-?(0|[1-9][0-9]*)?(\.([0-9]+)?)?([eE][+-]?([0-9]+)?)?")
# Runs end in a comma; that what they match is well-formed is left to orjson.
_NUMBER_RUN: Final = re.compile(rb"[0-9][0-9eE+\-., \t\r\n]*,")
_STRING_RUN: Final = re.compile(rb'(?>"[^"\\\x00-\x1f]*"[ \t\r\n]*,[ \t\r\n]*)++')
_STRING_PART: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_ANY_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?', re.DOTALL)
_HEX4: Final = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES: Final = frozenset(b'"\\/bfnrt')
_WORDS: Final[dict[bytes, tuple[tuple[bytes, JsonValue], ...]]] = {
    b"n": ((b"null", None),),
    b"t": ((b"true", True),),
    b"f": ((b"false", False),),
    b"N": ((b"NaN", float("nan")),),
    b"I": ((b"Infinity", float("inf")), (b"Inf", float("inf"))),
    b"-": ((b"-Infinity", float("-inf")), (b"-Inf", float("-inf")), (b"-NaN", float("nan"))),
}


def parse(text: bytes | bytearray | memoryview) -> JsonValue:
    """Return the value of a JSON text.

    Parameters
    ----------
    text
        UTF-8. Integers beyond 64 bits become floats, as RapidJSON makes them.

    Raises
    ------
    MalformedRequest
        With RapidJSON's text and the offset in bytes.
    InvalidRequest
        Nested deeper than `MAX_DEPTH`, or of too many parts.
    """
    check_weight(text)
    try:
        value: JsonValue = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return parse_slowly(text, refused_at=error.pos)
    if has_repeated_member(text, value):
        return parse_slowly(text)  # raises at the second of the names
    return value


def check_weight(text: bytes | bytearray | memoryview) -> None:
    """Raise `InvalidRequest` where values of a text would take too much time and memory.

    Numbers are not counted: they are cheap, and tensors have many.
    """
    if len(text) * _CONTAINER_WEIGHT <= MAX_WEIGHT:
        return
    whole = bytes(text)
    containers = whole.count(b"[") + whole.count(b"{")
    strings = whole.count(b'"') // 2
    if containers * _CONTAINER_WEIGHT + strings > MAX_WEIGHT:
        raise InvalidRequest(
            f"the JSON text has {containers} arrays and objects and {strings} strings, which is "
            f"more than the {MAX_WEIGHT // _CONTAINER_WEIGHT} or {MAX_WEIGHT} that are read: send "
            "'data' as one flat array, or as binary data"
        )


def parse_slowly(text: bytes | bytearray | memoryview, *, refused_at: int = 0) -> JsonValue:
    """Return the value of a JSON text as `parse` does, without orjson's help.

    Parameters
    ----------
    refused_at
        Offset that is told when the text is too long to find the exact one.
    """
    return _Reader(bytes(text), refused_at=refused_at).read()


def has_repeated_member(text: bytes | bytearray | memoryview, value: JsonValue) -> bool:
    """Return whether an object of `text`, which is valid and means `value`, repeats a member."""
    return _members_in_text(text) != _members_in_value(value)


def malformed(what: str, offset: int) -> MalformedRequest:
    """Return the error for a text that is wrong at `offset`, in the peer's words."""
    return MalformedRequest(f"failed to parse the request JSON buffer: {what} at {offset}")


def _members_in_text(text: bytes | bytearray | memoryview) -> int:
    return sum(1 for string in _ANY_STRING.finditer(text) if string.group(1))


def _members_in_value(value: JsonValue) -> int:
    count = 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            count += len(item)
            pending.extend(item.values())
        elif isinstance(item, list) and not {dict, list}.isdisjoint(map(type, item)):
            pending.extend(part for part in item if isinstance(part, dict | list))
    return count


class _Reader:
    """One pass over one text, position by position."""

    def __init__(self, text: bytes, *, refused_at: int) -> None:
        self._text = text
        self._refused_at = refused_at
        self._at = 0
        self._open: list[list[JsonValue] | dict[str, JsonValue]] = []
        self._names: list[str] = []
        self._steps = 0
        self._no_run_before = 0

    def read(self) -> JsonValue:
        self._skip_space()
        if self._at >= len(self._text):
            raise malformed("The document is empty.", self._at)
        while True:
            self._count_step()
            finished, value = self._begin_value()
            if finished and self._place(value):
                break
        self._skip_space()
        if self._at < len(self._text):
            raise malformed("The document root must not be followed by other values.", self._at)
        return self._root

    def _begin_value(self) -> tuple[bool, JsonValue]:
        """Read a scalar or an empty container, or open one that is not empty."""
        first = self._peek()
        if first == b"{":
            return self._open_object()
        if first == b"[":
            return self._open_array()
        if first == b'"':
            return True, self._string()
        return True, self._word_or_number(first)

    def _open_object(self) -> tuple[bool, JsonValue]:
        self._at += 1
        self._skip_space()
        if self._peek() == b"}":
            self._at += 1
            return True, {}
        self._push({})
        self._member_name()
        return False, None

    def _open_array(self) -> tuple[bool, JsonValue]:
        self._at += 1
        self._skip_space()
        if self._peek() == b"]":
            self._at += 1
            return True, []
        self._push([])
        self._take_runs()
        return False, None

    def _push(self, container: list[JsonValue] | dict[str, JsonValue]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise InvalidRequest(TOO_DEEP)
        self._open.append(container)

    def _place(self, value: JsonValue) -> bool:
        """Put a finished value into what is open, closing what it completes; true at the root."""
        while self._open:
            container = self._open[-1]
            if isinstance(container, list):
                container.append(value)
                closed = self._after_element()
            else:
                container[self._names.pop()] = value
                closed = self._after_member()
            if not closed:
                return False
            value = self._open.pop()
            self._count_step()
        self._root = value
        return True

    def _after_element(self) -> bool:
        self._skip_space()
        following = self._peek()
        if following not in {b",", b"]"}:
            raise malformed("Missing a comma or ] after an array element.", self._at)
        self._at += 1
        if following == b"]":
            return True
        self._skip_space()
        self._take_runs()
        return False

    def _after_member(self) -> bool:
        self._skip_space()
        following = self._peek()
        if following not in {b",", b"}"}:
            raise malformed("Missing a comma or } after an object member.", self._at)
        self._at += 1
        if following == b"}":
            return True
        self._skip_space()
        self._member_name()
        return False

    def _member_name(self) -> None:
        if self._peek() != b'"':
            raise malformed("Missing a name for object member.", self._at)
        started_at = self._at
        name = self._string()
        container = self._open[-1]
        assert isinstance(container, dict)
        if name in container:
            raise malformed(f"The member '{name[:64]}' is given twice.", started_at)
        self._names.append(name)
        self._skip_space()
        if self._peek() != b":":
            raise malformed("Missing a colon after a name of object member.", self._at)
        self._at += 1
        self._skip_space()

    def _take_runs(self) -> None:
        """Take all following elements but the last at once when they are plain and alike."""
        if self._at < self._no_run_before:
            return
        elements = self._open[-1]
        assert isinstance(elements, list)
        for pattern in (_NUMBER_RUN, _STRING_RUN):
            run = pattern.match(self._text, self._at)
            if run is None:
                continue
            try:
                elements.extend(orjson.loads(b"[" + run.group().rstrip(b" \t\r\n")[:-1] + b"]"))
            except orjson.JSONDecodeError:
                self._no_run_before = run.end()  # one of them is wrong: found one by one
                return
            self._at = run.end()
            self._skip_space()

    def _string(self) -> str:
        started_at = self._at
        self._at += 1
        while True:
            self._at = _end(_STRING_PART, self._text, self._at)
            following = self._peek()
            if following == b'"':
                self._at += 1
                return self._decoded(started_at)
            if following == b"":
                raise malformed("Missing a closing quotation mark in string.", self._at)
            if following != b"\\":
                raise malformed("Invalid encoding in string.", self._at)
            self._count_step()
            self._escape()

    def _decoded(self, started_at: int) -> str:
        try:
            decoded = orjson.loads(self._text[started_at : self._at])
        except orjson.JSONDecodeError:
            raise malformed("Invalid encoding in string.", started_at + 1) from None
        assert isinstance(decoded, str)
        return decoded

    def _escape(self) -> None:
        escape_at = self._at
        kind = self._text[escape_at + 1 : escape_at + 2]
        if kind == b"u":
            self._unicode_escape(escape_at)
        elif kind and kind[0] in _ESCAPES:
            self._at += 2
        else:
            raise malformed("Invalid escape character in string.", escape_at)

    def _unicode_escape(self, escape_at: int) -> None:
        unit = self._hex4(escape_at + 2, escape_at)
        self._at = escape_at + 6
        if not 0xD800 <= unit <= 0xDFFF:
            return
        paired = unit <= 0xDBFF and self._text[self._at : self._at + 2] == b"\\u"
        if not paired or not 0xDC00 <= self._hex4(self._at + 2, escape_at) <= 0xDFFF:
            raise malformed("The surrogate pair in string is invalid.", escape_at)
        self._at += 6

    def _hex4(self, at: int, escape_at: int) -> int:
        digits = _HEX4.match(self._text, at)
        if digits is None:
            raise malformed("Incorrect hex digit after \\u escape in string.", escape_at)
        return int(digits.group(), 16)

    def _word_or_number(self, first: bytes) -> JsonValue:
        words = _WORDS.get(first, ())
        for word, value in words:
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return value
        if words and first != b"-":
            raise malformed("Invalid value.", self._at + self._common_length(words[0][0]))
        return self._number()

    def _common_length(self, word: bytes) -> int:
        found = self._text[self._at : self._at + len(word)]
        return next(
            (length for length in range(len(found), 0, -1) if word.startswith(found[:length])), 0
        )

    def _number(self) -> int | float:
        parts = _NUMBER_PARTS.match(self._text, self._at)
        assert parts is not None  # every part is optional
        if parts.group(1) is None:
            minus = self._peek() == b"-"
            raise malformed("Invalid value.", self._at + minus)
        if parts.group(2) and not parts.group(3):
            raise malformed("Miss fraction part in number.", parts.end(2))
        if parts.group(4) and not parts.group(5):
            raise malformed("Miss exponent in number.", parts.end(4))
        try:
            value = orjson.loads(parts.group())
        except orjson.JSONDecodeError:
            value = float("inf")
        if value in {float("inf"), float("-inf")}:
            raise malformed("Number too big to be stored in double.", self._at)
        self._at = parts.end()
        assert isinstance(value, int | float)
        return value

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise malformed("Invalid value.", self._refused_at)

    def _peek(self) -> bytes:
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        self._at = _end(_SPACE, self._text, self._at)


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    assert match is not None  # the patterns match the empty text
    return match.end()
