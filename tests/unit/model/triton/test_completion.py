import msgspec
import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.tensor import Datatype
from mpserve.model.triton.completion import complete
from mpserve.model.triton.config_json import encode_config
from mpserve.model.triton.normalization import normalize
from mpserve.repository.triton.pbtxt import parse_text_config

INPUT = {"name": "x", "data_type": "TYPE_INT32", "dims": [4]}
OUTPUT = {"name": "y", "data_type": "TYPE_STRING", "dims": [-1]}


def given(text=""):
    config = parse_text_config(f'name: "m" backend: "python" {text}', path="p")
    return encode_config(normalize(config))


def completed(text="", **changes):
    returned = msgspec.json.decode(given(text)) | changes
    return complete(given(text), returned_json=msgspec.json.encode(returned).decode())


def test_tensors_and_batch_size_are_taken():
    done = completed(input=[INPUT], output=[OUTPUT], max_batch_size=8)
    signature = done.config.signature
    assert signature.max_batch_size == 8
    assert signature.inputs[0].datatype is Datatype.INT32
    assert signature.inputs[0].shape == (-1, 4)
    assert signature.outputs[0].datatype is Datatype.BYTES
    printed = msgspec.json.decode(done.config_json)
    assert printed["input"][0] == INPUT | {
        "format": "FORMAT_NONE",
        "is_shape_tensor": False,
        "allow_ragged_batch": False,
        "optional": False,
        "is_non_linear_format_io": False,
    }


def test_a_model_that_says_nothing_keeps_its_configuration():
    text = "max_batch_size: 2 dynamic_batching {}"
    assert complete(given(text), returned_json=given(text)).config_json == given(text)


def test_dynamic_batching_is_taken_and_gets_its_default_size():
    done = completed(max_batch_size=4, dynamic_batching={})
    assert done.config.batching.preferred_sizes == (4,)


def test_decoupled_is_taken():
    assert completed(model_transaction_policy={"decoupled": True}).config.decoupled


def test_what_a_model_may_not_change_stays():
    done = completed(
        name="other",
        backend="other",
        instance_group=[{"name": "g", "count": 9}],
        parameters={"a": {"string_value": "b"}},
        version_policy={"all": {}},
    )
    assert done.config_json == given()


def test_a_given_scheduling_choice_can_not_be_changed():
    with pytest.raises(InvalidRequest) as refused:
        completed("sequence_batching {}", dynamic_batching={})
    assert str(refused.value) == (
        "Cannot update scheduling choice from sequence_batching to sequence_batching when "
        "auto-completing."
    )


def test_a_given_scheduling_choice_stays_as_it_was():
    done = completed(
        "max_batch_size: 4 dynamic_batching { preferred_batch_size: 2 }",
        dynamic_batching={"preferred_batch_size": [3]},
    )
    assert done.config.batching.preferred_sizes == (2,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": [INPUT | {"dims": []}]}, "model input 'x' must specify 'dims' for m"),
        ({"input": [INPUT | {"other": 1}]}, "Object contains unknown field `other`"),
        ({"max_batch_size": -1}, "'max_batch_size' must be non-negative value for m"),
        ({"max_batch_size": "many"}, "Expected `int`, got `str`"),
    ],
)
def test_an_invalid_result_is_refused(changes, reason):
    with pytest.raises(InvalidRequest, match=reason):
        completed(**changes)


def test_an_incomplete_file_is_refused_when_nothing_completes_it():
    text = 'input { name: "x" }'
    with pytest.raises(InvalidRequest, match="model input 'x' must specify 'data_type' for m"):
        complete(given(text), returned_json=given(text))
