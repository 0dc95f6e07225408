import msgspec
import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.triton.batch_validation import check_batch_tensors
from mpserve.model.triton.config import (
    BatchInput,
    BatchOutput,
    ModelInput,
    ModelOutput,
    TensorReshape,
    TritonConfig,
)

GOOD_INPUT = BatchInput(target_name=("T",), data_type="TYPE_FP32", source_input=("S",))
GOOD_OUTPUT = BatchOutput(target_name=("O",), source_input=("S",))
GOOD = TritonConfig(
    name="m",
    input=(ModelInput(name="S", dims=(-1,)),),
    output=(ModelOutput(name="O", dims=(-1,)),),
    batch_input=(GOOD_INPUT,),
    batch_output=(GOOD_OUTPUT,),
)
KIND = "BATCH_ELEMENT_COUNT"
SCATTER = "BATCH_SCATTER_WITH_INPUT_SHAPE"


def with_input(**changes):
    return {"batch_input": (msgspec.structs.replace(GOOD_INPUT, **changes),)}


def with_output(**changes):
    return {"batch_output": (msgspec.structs.replace(GOOD_OUTPUT, **changes),)}


def test_a_right_configuration_passes():
    check_batch_tensors(GOOD)
    check_batch_tensors(TritonConfig(name="m"))
    wider = (
        ModelOutput(name="O", dims=(2, 3)),
        ModelOutput(name="P", dims=(-1, 1), reshape=TensorReshape(shape=(-1,))),
    )
    outputs = (GOOD_OUTPUT, BatchOutput(target_name=("P",), source_input=("S",)))
    check_batch_tensors(msgspec.structs.replace(GOOD, output=wider, batch_output=outputs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_input(source_input=()), f"batch input kind '{KIND}' expects 1 source input, got 0"),
        (
            with_input(source_input=("S", "S")),
            f"batch input kind '{KIND}' expects 1 source input, got 2",
        ),
        (with_input(source_input=("X",)), "unknown source input name 'X'"),
        (with_input(target_name=()), f"batch input kind '{KIND}' must have a 'target_name'"),
        (
            with_input(data_type="TYPE_INT64"),
            "batch input data type must be TYPE_INT32 or TYPE_FP32",
        ),
        (
            with_output(source_input=()),
            f"batch output kind '{SCATTER}' expects 1 source input, got 0",
        ),
        (with_output(source_input=("X",)), "unknown source input name 'X'"),
        (with_output(target_name=()), f"batch output kind '{SCATTER}' must have a 'target_name'"),
        (with_output(target_name=("X",)), "unknown target output name 'X'"),
        (
            {"output": (ModelOutput(name="O", dims=(2, -1)),)},
            "batch output 'O' has free sizes that its source input 'S' does not tell: it has 1"
            " dimensions",
        ),
    ],
)
def test_each_fault_is_told(changes, message):
    with pytest.raises(InvalidRequest) as refused:
        check_batch_tensors(msgspec.structs.replace(GOOD, **changes))
    assert refused.value.message == f"{message} for m"
