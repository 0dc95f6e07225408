import json

import pytest

from mpserve.compat.triton_model_config import (
    ModelConfig,
    get_input_config_by_name,
    get_output_config_by_name,
    using_decoupled_model_transaction_policy,
)

IN = {"name": "IN", "data_type": "TYPE_FP32", "dims": [4]}
OUT = {"name": "OUT", "data_type": "TYPE_INT64", "dims": [-1]}


def config(**fields):
    empty = {"name": "m", "max_batch_size": 0, "input": [], "output": []}
    return ModelConfig(json.dumps({**empty, **fields}))


def test_an_empty_configuration_is_completed():
    completed = config()
    completed.set_max_batch_size(8)
    completed.set_dynamic_batching()
    completed.add_input(IN)
    completed.add_output(OUT)
    completed.set_model_transaction_policy({"decoupled": False})
    assert completed.as_dict() == {
        "name": "m",
        "max_batch_size": 8,
        "input": [IN],
        "output": [OUT],
        "dynamic_batching": {},
        "model_transaction_policy": {"decoupled": False},
    }


def test_as_dict_is_the_configuration_itself():
    completed = config()
    completed.as_dict()["max_batch_size"] = 3
    assert completed.as_dict()["max_batch_size"] == 3


def test_what_is_declared_already_may_be_declared_again():
    completed = config(input=[{**IN, "optional": False}])
    completed.add_input(IN)
    completed.add_input({**IN, "optional": False})
    assert completed.as_dict()["input"] == [{**IN, "optional": False}]


def test_what_is_declared_in_part_is_filled():
    completed = config(output=[{"name": "OUT", "data_type": "TYPE_INVALID", "dims": []}])
    completed.add_output(OUT)
    assert completed.as_dict()["output"] == [OUT]


def test_dynamic_batching_keeps_its_options():
    completed = config(dynamic_batching={"max_queue_delay_microseconds": 5})
    completed.set_dynamic_batching()
    assert completed.as_dict()["dynamic_batching"] == {"max_queue_delay_microseconds": 5}


def without(tensor, key):
    return {name: value for name, value in tensor.items() if name != key}


PLACE = "in auto-complete-config function for model 'm'"
REFUSALS = [
    pytest.param(
        {"max_batch_size": 8},
        lambda c: c.set_max_batch_size(4),
        "configuration specified max_batch_size 8, but in auto-complete-config function for model"
        " 'm' specified max_batch_size 4",
        id="batch size",
    ),
    pytest.param(
        {"sequence_batching": {}},
        lambda c: c.set_dynamic_batching(),
        "Configuration specified scheduling_choice as 'sequence_batching', but auto-complete-config"
        " function for model 'm' tries to set scheduling_choice as 'dynamic_batching'",
        id="sequence",
    ),
    pytest.param(
        {"ensemble_scheduling": {}},
        lambda c: c.set_dynamic_batching(),
        "Configuration specified scheduling_choice as 'ensemble_scheduling', but"
        " auto-complete-config function for model 'm' tries to set scheduling_choice as"
        " 'dynamic_batching'",
        id="ensemble",
    ),
    pytest.param(
        {},
        lambda c: c.add_input({**IN, "reshape": 1}),
        f"input 'IN' {PLACE} contains property other than 'name', 'data_type', 'dims' and"
        " 'optional'.",
        id="input property",
    ),
    pytest.param(
        {},
        lambda c: c.add_output({**OUT, "optional": True}),
        f"output 'OUT' {PLACE} contains property other than 'name', 'data_type' and 'dims'.",
        id="output property",
    ),
    pytest.param(
        {},
        lambda c: c.add_input(without(IN, "name")),
        f"input {PLACE} is missing 'name' property.",
        id="name",
    ),
    pytest.param(
        {},
        lambda c: c.add_input(without(IN, "data_type")),
        f"input 'IN' {PLACE} is missing 'data_type' property.",
        id="data_type",
    ),
    pytest.param(
        {},
        lambda c: c.add_output(without(OUT, "dims")),
        f"output 'OUT' {PLACE} is missing 'dims' property.",
        id="dims",
    ),
    pytest.param(
        {"input": [{**IN, "data_type": "TYPE_INT8"}]},
        lambda c: c.add_input(IN),
        "unable to load model 'm', configuration expects datatype TYPE_INT8 for input 'IN', model"
        " provides TYPE_FP32",
        id="datatype",
    ),
    pytest.param(
        {"output": [{**OUT, "dims": [2]}]},
        lambda c: c.add_output(OUT),
        "model 'm', tensor 'OUT': the model expects dims [-1] but the model configuration specifies"
        " dims [2]",
        id="other dims",
    ),
    pytest.param(
        {"input": [{**IN, "optional": False}]},
        lambda c: c.add_input({**IN, "optional": True}),
        "model 'm', tensor 'IN': the model expects optional True but the model configuration"
        " specifies optional False",
        id="optional",
    ),
    pytest.param(
        {},
        lambda c: c.set_model_transaction_policy({"coupled": True}),
        "model transaction property in auto-complete-config function for model 'm' contains"
        " property other than 'decoupled'.",
        id="policy",
    ),
    pytest.param(
        {"model_transaction_policy": {"decoupled": True}},
        lambda c: c.set_model_transaction_policy({"decoupled": False}),
        "trying to change decoupled property in auto-complete-config for model 'm', which is"
        " already set to 'True'.",
        id="decoupled",
    ),
]


@pytest.mark.parametrize(("present", "change", "words"), REFUSALS)
def test_contradictions_are_refused_with_tritons_words(present, change, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole text is compared
        change(config(**present))
    assert str(caught.value) == words


def test_tensors_are_found_in_a_configuration_by_name():
    declared = {"input": [IN], "output": [OUT]}
    assert get_input_config_by_name(declared, "IN") is IN
    assert get_output_config_by_name(declared, "OUT") is OUT
    assert get_input_config_by_name(declared, "OUT") is None
    assert get_output_config_by_name({}, "OUT") is None


def test_the_transaction_policy_is_read():
    assert using_decoupled_model_transaction_policy({}) is False
    assert using_decoupled_model_transaction_policy(
        {"model_transaction_policy": {"decoupled": True}}
    )
