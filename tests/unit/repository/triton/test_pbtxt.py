import subprocess
import sys

import pytest

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.model.triton.config import ModelInput, ModelParameter, SpecificVersions, TritonConfig
from mpserve.repository.triton.known_texts import MOST_FILES
from mpserve.repository.triton.pbtxt import (
    forget_texts,
    parse_json_config,
    parse_text_config,
)

FULL = """
# a comment
name: "m"
platform: 'onnxruntime_onnx'
max_batch_size: 8
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 1, -1 ] },
  { name: "y", data_type: TYPE_STRING; dims: 4 optional: true }
]
version_policy: { specific { versions: [ 9223372036854775807, 2 ] } }
parameters { key: "k" value: { string_value: "v" } }
dynamic_batching { priority_queue_policy { key: 3 value { timeout_action: DELAY } } }
sequence_batching: < >
"""


def test_text_is_parsed():
    text = FULL.replace("sequence_batching: < >", "")
    config = parse_text_config(text, path="p")
    assert config.name == "m"
    assert config.max_batch_size == 8
    assert config.input == (
        ModelInput(name="x", data_type="TYPE_FP32", dims=(1, -1)),
        ModelInput(name="y", data_type="TYPE_STRING", dims=(4,), optional=True),
    )
    assert config.version_policy.specific == SpecificVersions(versions=(2**63 - 1, 2))
    assert config.parameters == {"k": ModelParameter(string_value="v")}
    assert config.dynamic_batching.priority_queue_policy["3"].timeout_action == "DELAY"


def test_empty_text_is_an_empty_configuration():
    assert parse_text_config("", path="p") == TritonConfig()


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ('name: "a"\nfoo: 3', 2, 1, 'has no field named "foo"'),
        ("max_batch_size: 99999999999", 1, 17, "Value out of range"),
        ("\n\ninput { data_type: TYPE_FOO }", 3, 20, "has no value named TYPE_FOO"),
        ('name: "a"\nname: "b"', 2, 7, 'should not have multiple "name" fields'),
        (FULL, 13, 1, "another member of oneof"),
    ],
)
def test_an_error_names_file_line_and_column(text, line, column, reason):
    with pytest.raises(RepositoryError) as refused:
        parse_text_config(text, path="/r/m/config.pbtxt")
    message = str(refused.value)
    assert message.startswith("failed to read text proto from /r/m/config.pbtxt: ")
    assert reason in message
    assert message.endswith(f"(/r/m/config.pbtxt:{line}:{column})")


def test_deep_nesting_is_an_error():
    with pytest.raises(RepositoryError):
        parse_text_config("input {" * 5000, path="p")


def test_json_takes_enums_of_any_case_and_numbers_as_text():
    config = parse_json_config(
        """{"name": "m", "max_batch_size": "8",
            "input": [{"name": "lower", "data_type": "type_fp32", "dims": ["4", 2]}],
            "instanceGroup": [{"kind": "kind_cpu"}],
            "parameters": {"type_fp32": {"string_value": "kind_cpu"}},
            "dynamic_batching": {"priority_queue_policy": {"1": {"timeout_action": "Delay"}}}}"""
    )
    assert config.max_batch_size == 8
    assert config.input[0] == ModelInput(name="lower", data_type="TYPE_FP32", dims=(4, 2))
    assert config.instance_group[0].kind.value == "KIND_CPU"
    assert config.parameters == {"type_fp32": ModelParameter(string_value="kind_cpu")}
    assert config.dynamic_batching.priority_queue_policy["1"].timeout_action == "DELAY"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`"),
        ('{"nonsense": 1}', 'has no field named "nonsense"'),
        ('{"max_batch_size": "x"}', "Failed to parse max_batch_size field"),
        ('{"input": {}}', "repeated field input must be in []"),
        ('{"input": [{"data_type": "TYPE_FOO"}]}', "Invalid enum value TYPE_FOO"),
        ('{"input": [{"data_type": 99}]}', "$.input[0].data_type"),
        ('{"parameters": []}', "parameters"),
        ('{"version_policy": {"all": {}, "latest": {}}}', "policy_choice"),
        ('{"name": 3}', "name"),
        ('{"input": [3]}', "input"),
        ('{"a":' * 5000, ""),
    ],
)
def test_bad_json_is_refused_in_one_line(text, reason):
    with pytest.raises(InvalidRequest) as refused:
        parse_json_config(text)
    message = str(refused.value)
    assert message.startswith("Invalid config override: ")
    assert reason in message
    assert "\n" not in message


def test_the_same_text_is_parsed_once_and_a_fault_names_its_own_file():
    text = 'name: "once" max_batch_size: 3'
    assert parse_text_config(text, path="a") is parse_text_config(text, path="b")
    for path in ("c", "d"):
        with pytest.raises(RepositoryError, match=f"failed to read text proto from {path}"):
            parse_text_config("name: ", path=path)


def test_a_meaning_is_kept_until_the_last_folder_with_the_text_is_let_go_of():
    text = 'name: "kept" max_batch_size: 3'
    first = parse_text_config(text, path="/r/one/config.pbtxt")
    assert parse_text_config(text, path="/r/two/config.pbtxt") is first
    forget_texts("/r/one")
    assert parse_text_config(text, path="/r/two/config.pbtxt") is first
    forget_texts("/r/tw")  # another folder
    assert parse_text_config(text, path="/r/two/config.pbtxt") is first
    forget_texts("/r/two")
    assert parse_text_config(text, path="/r/two/config.pbtxt") is not first


def test_a_file_that_says_something_else_keeps_nothing_of_what_it_said():
    first = parse_text_config('name: "before"', path="/r/m/config.pbtxt")
    parse_text_config('name: "after"', path="/r/m/config.pbtxt")
    assert parse_text_config('name: "before"', path="/r/n/config.pbtxt") is not first


def test_the_files_read_last_are_kept():
    first = parse_text_config('name: "first"', path="/r/first/config.pbtxt")
    for number in range(MOST_FILES):
        parse_text_config(f'name: "m{number}"', path=f"/r/{number}/config.pbtxt")
    assert parse_text_config('name: "first"', path="/r/first/config.pbtxt") is not first


def test_protobuf_is_not_imported_before_a_text_is_parsed():
    code = (
        "import sys, mpserve.repository as r; "
        "r.scan(['/nonexistent'], None, r.ScanOptions()); "
        "print([m for m in sys.modules if m.startswith(('google', 'watchfiles'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("number", "kind"), [(1, "KIND_GPU"), (2, "KIND_CPU")])
def test_kinds_of_instances_have_the_numbers_of_the_configuration(number, kind):
    """In Triton's C interface they are the other way round."""
    by_number = parse_json_config(f'{{"name": "m", "instance_group": [{{"kind": {number}}}]}}')
    by_name = parse_json_config(f'{{"name": "m", "instance_group": [{{"kind": "{kind}"}}]}}')
    assert by_number == by_name
    assert by_name.instance_group[0].kind.value == kind
