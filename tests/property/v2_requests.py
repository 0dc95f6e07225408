"""Strategies for V2 inference requests: right ones, almost right ones, and rubbish."""

import json

from hypothesis import strategies as st

from mpserve.model.region import RegionUse

WORDS = (
    "BOOL",
    "UINT8",
    "UINT64",
    "INT8",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "BF16",
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.integers(-3, 5)
    | st.floats()
    | st.sampled_from(["", "x", "INPUT0", "FP32", "1", "r", "\ud800", "\u2603", "triton_x"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "data", "shape", "parameters", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
DATA = st.lists(st.integers(-5, 300) | st.floats(width=32) | SCALARS, max_size=9) | st.recursive(
    st.integers(0, 3), lambda inner: st.lists(inner, max_size=3), max_leaves=12
)
SHAPES = st.lists(st.integers(-1, 5) | st.sampled_from([2**31, 2**40, 2**63, 2**64]), max_size=4)
REGISTERED = (("r", 3, 64, 40), ("s", 9, 0, 2**40))  # name, id, offset, bytes
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["binary_data_size", "binary_data", "classification", "shared_memory_region",
         "shared_memory_offset", "shared_memory_byte_size", "sequence_id", "sequence_start",
         "sequence_end", "priority", "timeout", "binary_data_output", "triton_x", "content_type",
         "headers", "custom"]
    ),
    SCALARS | st.integers(0, 40),
    max_size=3,
)  # fmt: skip
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("INPUT0") | VALUES,
        "datatype": st.sampled_from(WORDS) | VALUES,
        "shape": SHAPES | VALUES,
        "data": DATA | VALUES,
        "parameters": PARAMETERS | VALUES,
    },
)
OUTPUTS = st.fixed_dictionaries(
    {}, optional={"name": st.just("OUTPUT0") | VALUES, "parameters": PARAMETERS | VALUES}
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=5) | VALUES,
        "inputs": st.lists(INPUTS | VALUES, max_size=3) | VALUES,
        "outputs": st.lists(OUTPUTS | VALUES, max_size=3) | VALUES,
        "parameters": PARAMETERS | VALUES,
        "more": VALUES,
    },
)
GOOD = {
    "id": "a",
    "parameters": {"custom": 1, "binary_data_output": False},
    "inputs": [
        {
            "name": "INPUT0",
            "datatype": "FP32",
            "shape": [2, 4],
            "data": [0, 1, 2.5, -3, 4e0, 5, 6, 7],
        }
    ],
    "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": False}}],
}
GOOD_TEXT = json.dumps(GOOD).encode()


@st.composite
def damaged(draw: st.DrawFn, text: bytes = GOOD_TEXT) -> bytes:
    """Return a good request with a few bytes changed, doubled, cut out or put in."""
    damaged_text = bytearray(text)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(damaged_text)))
        length = draw(st.integers(0, 4))
        put_in = draw(
            st.binary(max_size=4)
            | st.sampled_from(
                [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"-", b"1e999", b"NaN", b"null",
                 b'"\\ud800"', b" ", b"\xff", b"[[[[", b"0", b"1", b"."]
            )
        )  # fmt: skip
        damaged_text[at : at + length] = put_in
    return bytes(damaged_text)


def texts(documents: st.SearchStrategy) -> st.SearchStrategy[bytes]:
    """Return JSON texts of documents, also with Python's words for NaN and with lone surrogates."""
    return documents.map(lambda document: json.dumps(document).encode())


BODIES = texts(DOCUMENTS) | damaged() | st.binary(max_size=40) | texts(VALUES)


def place_of(use: RegionUse | None) -> tuple[int, int, int] | None:
    """Return where a named piece lies (id, offset, bytes), zeros for none; `None`: nowhere."""
    if use is None:
        return (0, 0, 0)
    for name, number, offset, size in REGISTERED:
        if name == use.name and use.offset < size and 0 < use.byte_size <= size - use.offset:
            return (number, offset + use.offset, use.byte_size)
    return None


@st.composite
def pieces(draw: st.DrawFn, size: int) -> dict[str, object]:
    """Return parameters that name `size` bytes of a region, mostly one that is registered."""
    place = {
        "shared_memory_region": draw(st.sampled_from(["r", "r", "s", "t"])),
        "shared_memory_byte_size": size,
    }
    if draw(st.booleans()):
        place["shared_memory_offset"] = draw(st.integers(0, 48) | st.just(2**40))
    return {key: place[key] for key in draw(st.permutations(sorted(place)))}


@st.composite
def in_regions(draw: st.DrawFn) -> bytes:
    """Return a request whose tensors lie in regions, but for some that do not."""
    inputs: list[dict[str, object]] = []
    for index in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 10))
        one: dict[str, object] = {"name": f"IN{index}", "datatype": "FP32", "shape": [count]}
        if draw(st.booleans()):
            one["parameters"] = draw(pieces(count * 4))
        else:
            one["data"] = [0.5] * count
        inputs.append(one)
    outputs: list[dict[str, object]] = []
    for index in range(draw(st.integers(0, 2))):
        place = draw(pieces(draw(st.integers(0, 48))))
        if draw(st.booleans()):
            place["binary_data"] = False
        outputs.append({"name": f"OUT{index}", "parameters": place})
    return json.dumps({"inputs": inputs, "outputs": outputs}).encode()
