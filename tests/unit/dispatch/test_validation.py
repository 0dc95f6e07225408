"""Requests against signatures, in the order and with the words of Triton's core."""

import pytest

from mpserve.codec.bytes_tensor import pack
from mpserve.dispatch.validation import validate
from mpserve.errors import InvalidRequest
from mpserve.model.request import MAX_TENSORS, InferRequest, InputTensor, RequestedOutput
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype

FP32, INT8, BYTES = Datatype.FP32, Datatype.INT8, Datatype.BYTES
R = "[request id: <id_unknown>] "


def spec(name: str, *shape: int, datatype: Datatype = INT8, **more: bool) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, **more)


def tensor(
    name: str, *shape: int, datatype: Datatype = INT8, data: bytes | None = None
) -> InputTensor:
    size = datatype.item_bytes
    for one in shape:
        size *= one
    return InputTensor(
        name=name, datatype=datatype, shape=shape, data=b"\0" * size if data is None else data
    )


def check(signature: Signature, *inputs: InputTensor, outputs: tuple[str, ...] = ()) -> None:
    request = InferRequest(
        inputs=inputs, outputs=tuple(RequestedOutput(name=name) for name in outputs)
    )
    validate(request, signature=signature, model_name="m")


def refused(
    text: str, signature: Signature, *inputs: InputTensor, outputs: tuple[str, ...] = ()
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(signature, *inputs, outputs=outputs)
    assert caught.value.message == text


TWO = Signature(
    inputs=(spec("a", -1, 2), spec("b", -1, -1)), outputs=(spec("y", -1),), max_batch_size=4
)
MAYBE = Signature(inputs=(spec("a", 2), spec("b", -1, optional=True), spec("c", 1)))
OPEN = Signature(open_inputs=True, open_outputs=True)


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        (TWO, [tensor("a", 4, 2), tensor("b", 4, 7)]),
        (TWO, [tensor("b", 1, 0), tensor("a", 1, 2)]),
        (MAYBE, [tensor("a", 2), tensor("c", 1)]),
        (MAYBE, [tensor("a", 2), tensor("b", 9), tensor("c", 1)]),
        (OPEN, [tensor("anything", 1, 2, 3, datatype=FP32)]),
        (OPEN, []),
        (Signature(inputs=(TensorSpec(name="a", datatype=None, shape=None),)), [tensor("a", 3)]),
        (Signature(inputs=(spec("a", -1, 2, ragged=True),), max_batch_size=1), [tensor("a", 1, 9)]),
    ],
)
def test_what_fits_passes(signature, inputs):
    check(signature, *inputs)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([tensor("a", 1, 2)],
         "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing "
         "required input(s) ['b']. Please provide all required input(s)."),
        ([],
         "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing required "
         "input(s) ['a','b']. Please provide all required input(s)."),
        ([tensor("a", 1, 2), tensor("b", 2, 1)],
         "input 'b' batch size does not match other inputs for 'm'"),
        ([tensor("a", 5, 2), tensor("b", 5, 1)],
         "inference request batch-size must be <= 4 for 'm'"),
        ([tensor("a"), tensor("b", 2, 1)],
         "input 'a' has no shape but model requires batch dimension for 'm'"),
        ([tensor("a", 1, 2, datatype=FP32), tensor("b", 1, 1)],
         "inference input 'a' data-type is 'FP32', but model 'm' expects 'INT8'"),
        ([tensor("a", 1, 2), tensor("b", 1, 1, data=b"ab")],
         "input byte size mismatch for input 'b' for model 'm'. Expected 1, got 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_the_request_id(inputs, text):
    refused(R + text, TWO, *inputs)


def test_a_missing_input_beside_optional_ones_is_told_with_the_bounds():
    text = (
        f"{R}expected number of inputs between 2 and 3 but got 1 inputs for model 'm'. Got "
        f"input(s) ['a'], but missing required input(s) ['c']. Please provide all required "
        f"input(s)."
    )
    refused(text, MAYBE, tensor("a", 2))
    with pytest.raises(InvalidRequest, match=r"missing required input\(s\) \['c'\]"):
        check(MAYBE, tensor("a", 2), tensor("b", 1))


def test_unknown_names_are_told_without_the_request_id():
    refused(
        "unexpected inference input 'x' for model 'm'", TWO, tensor("x", 1, 2), tensor("b", 1, 1)
    )
    refused(
        "unexpected inference output 'z' for model 'm'",
        TWO,
        tensor("a", 1, 2),
        tensor("b", 1, 1),
        outputs=("y", "z"),
    )


def test_a_shape_is_told_as_it_is_declared():
    with pytest.raises(InvalidRequest, match=r"Expected \[-1,2\], got \[1,3\]\. NOTE: Setting"):
        check(TWO, tensor("a", 1, 3), tensor("b", 1, 1))
    text = f"{R}unexpected shape for input 'a' for model 'm'. Expected [2], got [2,1]. "
    refused(text, Signature(inputs=(spec("a", 2),)), tensor("a", 2, 1))


def test_outputs_are_looked_at_before_inputs():
    refused("unexpected inference output 'z' for model 'm'", TWO, outputs=("z",))


def test_the_size_of_undeclared_inputs_is_checked_too():
    text = f"{R}input byte size mismatch for input 'x' for model 'm'. Expected 8, got 7"
    refused(text, OPEN, tensor("x", 2, datatype=FP32, data=b"\0" * 7))


TEXT = Signature(inputs=(spec("a", -1, datatype=BYTES),))


def test_texts_are_counted():
    check(TEXT, tensor("a", 2, datatype=BYTES, data=pack([b"", b"ab"])))
    check(TEXT, tensor("a", 0, datatype=BYTES, data=b""))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (pack([b"a"]), "expected 2 string elements {}, got 1"),
        (pack([b"a", b"b", b"c"]), "unexpected number of string elements 3 {}, expecting 2"),
        (pack([b"a"]) + b"\0\0", "incomplete string length indicator {}, expecting 4 bytes but "
         "only 2 bytes available. Please make sure the string length indicator is in one buffer."),
        (b"\xff\xff\xff\xffab", "incomplete string data {}, expecting string of length 4294967295 "
         "but only 2 bytes available. Please make sure the string is in one buffer."),
    ],
)  # fmt: skip
def test_broken_texts_are_refused(data, text):
    place = "for inference input 'a' for model 'm'"
    refused(R + text.format(place), TEXT, tensor("a", 2, datatype=BYTES, data=data))


def test_no_more_tensors_than_a_message_holds():
    many = [tensor(str(number), 1) for number in range(MAX_TENSORS + 1)]
    with pytest.raises(InvalidRequest, match="got 4097 inputs for model 'm', at most 4096"):
        check(OPEN, *many)
