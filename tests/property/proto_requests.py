"""Strategies for `ModelInferRequest` messages: right ones, almost right ones, and rubbish."""

from hypothesis import strategies as st

from mpserve.model.proto.schema import MODEL_CONFIG, TRITON_SERVICE, schema
from tests.property.v2_requests import pieces

MESSAGES = schema(MODEL_CONFIG, TRITON_SERVICE)
REQUEST = MESSAGES.message("inference.ModelInferRequest")
RESPONSE = MESSAGES.message("inference.ModelInferResponse")

WORDS = ("BOOL", "UINT8", "UINT64", "INT8", "INT32", "FP16", "FP32", "FP64", "BYTES", "BF16", "X")
TEXTS = st.text(max_size=5) | st.sampled_from(["A", "B", "X"])
SIZES = st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**62])
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "bool_param": st.booleans(),
        "int64_param": st.integers(-2, 2),
        "string_param": st.text(max_size=3),
    },
).map(lambda choices: dict(list(choices.items())[:1]))
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "sequence_id",
            "sequence_start",
            "sequence_end",
            "priority",
            "timeout",
            "triton_x",
            "mine",
            "shared_memory_region",
            "shared_memory_byte_size",
        ]
    ),
    CHOICES,
    max_size=2,
)
SEQUENCES = st.fixed_dictionaries(
    {},
    optional={
        "sequence_id": st.builds(dict, int64_param=st.integers(-(2**63), 2**63 - 1))
        | st.builds(dict, string_param=st.text(max_size=9)),
        "sequence_start": st.builds(dict, bool_param=st.booleans()),
        "sequence_end": st.builds(dict, bool_param=st.booleans()),
    },
)
RAW = st.binary(max_size=24) | st.sampled_from(
    [b"\0" * 4, b"\0" * 8, b"\x01\0\0\0a", b"\0" * 16, b""]
)
TENSORS = st.fixed_dictionaries(
    {
        "name": TEXTS,
        "datatype": st.sampled_from(WORDS),
        "shape": st.lists(SIZES, max_size=3),
    },
    optional={
        "parameters": PARAMETERS,
        "contents": st.fixed_dictionaries(
            {}, optional={"fp32_contents": st.lists(st.just(0.5), max_size=3)}
        ),
    },
)


@st.composite
def fitting(draw):
    """Return a request whose tensors have the bytes that their shapes say."""
    items = {"FP32": 4, "INT8": 1, "UINT64": 8, "FP16": 2}
    inputs, raw = [], []
    for index in range(draw(st.integers(1, 3))):
        word = draw(st.sampled_from([*items, "BYTES"]))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        count = 1
        for size in shape:
            count *= size
        inputs.append({"name": f"T{index}", "datatype": word, "shape": shape})
        if word == "BYTES":
            elements = [draw(st.binary(max_size=4)) for _ in range(count)]
            raw.append(b"".join(len(one).to_bytes(4, "little") + one for one in elements))
        else:
            raw.append(draw(st.binary(min_size=count * items[word], max_size=count * items[word])))
    return REQUEST(
        model_name=draw(TEXTS),
        model_version=draw(st.sampled_from(["", "1"])),
        id=draw(TEXTS),
        parameters=draw(SEQUENCES),
        inputs=inputs,
        outputs=[{"name": name} for name in draw(st.lists(TEXTS, max_size=2, unique=True))],
        raw_input_contents=raw,
    ).SerializeToString()


def as_messages(parameters: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return parameters as fields of messages."""
    return {
        key: {"string_param" if isinstance(value, str) else "int64_param": value}
        for key, value in parameters.items()
    }


@st.composite
def in_regions(draw):
    """Return a request whose tensors lie in regions, but for some that do not."""
    inputs, raw = [], []
    for index in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 10))
        one = {"name": f"T{index}", "datatype": "FP32", "shape": [count]}
        if draw(st.booleans()):
            one["parameters"] = as_messages(draw(pieces(count * 4)))
        else:
            raw.append(bytes(4 * count))
        inputs.append(one)
    outputs = [
        {"name": f"X{index}", "parameters": as_messages(draw(pieces(draw(st.integers(0, 48)))))}
        for index in range(draw(st.integers(0, 2)))
    ]
    return REQUEST(
        model_name="m", inputs=inputs, outputs=outputs, raw_input_contents=raw
    ).SerializeToString()


MIXED = st.builds(
    lambda **fields: REQUEST(**fields).SerializeToString(),
    model_name=TEXTS,
    id=TEXTS,
    inputs=st.lists(TENSORS, max_size=3),
    outputs=st.lists(
        st.fixed_dictionaries({"name": TEXTS}, optional={"parameters": PARAMETERS}), max_size=2
    ),
    parameters=PARAMETERS,
    raw_input_contents=st.lists(RAW, max_size=3),
)


@st.composite
def damaged(draw):
    """Return a request with bytes cut, changed or put in, or rubbish."""
    data = bytearray(draw(fitting() | MIXED | st.binary(max_size=40)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "change", "insert", "drop", "again"])):
            case "cut":
                del data[at:]
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(max_size=4))
            case "drop":
                del data[at : at + 1]
            case _:
                data += data[at:]
    return bytes(data)
