import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import TritonConfig
from mpserve.model.triton.config_json import decode_config, encode_config
from mpserve.model.triton.normalization import (
    fill_backend,
    normalize,
    normalize_instance_groups,
)
from mpserve.repository.triton.pbtxt import parse_text_config

# Printed by a real server for a Python model with this configuration.
TEXT = """
name: "ident"
backend: "python"
max_batch_size: 8
input { name: "INPUT0" data_type: TYPE_FP32 dims: 4 }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: 4 }
dynamic_batching { }
"""
PRINTED = (
    '{"name":"ident","platform":"","backend":"python","runtime":"","version_policy":{"latest":'
    '{"num_versions":1}},"max_batch_size":8,"input":[{"name":"INPUT0","data_type":"TYPE_FP32",'
    '"format":"FORMAT_NONE","dims":[4],"is_shape_tensor":false,"allow_ragged_batch":false,'
    '"optional":false,"is_non_linear_format_io":false}],"output":[{"name":"OUTPUT0","data_type":'
    '"TYPE_FP32","dims":[4],"label_filename":"","is_shape_tensor":false,"is_non_linear_format_io":'
    'false}],"batch_input":[],"batch_output":[],"optimization":{"priority":"PRIORITY_DEFAULT",'
    '"input_pinned_memory":{"enable":true},"output_pinned_memory":{"enable":true},'
    '"gather_kernel_buffer_threshold":0,"eager_batching":false},"dynamic_batching":'
    '{"preferred_batch_size":[8],"max_queue_delay_microseconds":0,"preserve_ordering":false,'
    '"priority_levels":0,"default_priority_level":0,"priority_queue_policy":{}},"instance_group":'
    '[{"name":"ident","kind":"KIND_CPU","count":1,"gpus":[],"secondary_devices":[],"profile":[],'
    '"passive":false,"host_policy":""}],"default_model_filename":"model.py","cc_model_filenames":'
    '{},"metric_tags":{},"parameters":{},"model_warmup":[]}'
)


def test_the_text_is_what_a_real_server_prints():
    config = parse_text_config(TEXT, path="p")
    config = normalize(fill_backend(config, version_entries=["model.py"]))
    assert encode_config(normalize_instance_groups(config, gpus=())) == PRINTED


def test_what_is_printed_is_read_back():
    assert encode_config(decode_config(PRINTED)) == PRINTED


def test_64_bit_numbers_are_printed_as_numbers():
    text = "version_policy { specific { versions: 9223372036854775807 } }"
    assert '"versions":[9223372036854775807]' in encode_config(parse_text_config(text, path="p"))


def test_a_choice_that_is_set_to_its_default_is_printed():
    text = 'model_warmup { inputs { key: "x" value { zero_data: false } } }'
    printed = encode_config(parse_text_config(text, path="p"))
    assert '"zero_data":false' in printed
    assert "random_data" not in printed


def test_equal_configurations_print_equally_whatever_their_order():
    one, two = (
        "".join(f'metric_tags {{ key: "{key}" value: "v" }}' for key in keys)
        for keys in ("abc", "cba")
    )
    assert encode_config(parse_text_config(one, path="p")) == encode_config(
        parse_text_config(two, path="p")
    )


@pytest.mark.parametrize(
    "text", ["", "[]", '{"nonsense":1}', '{"max_batch_size":"8"}', '{"input":[{"data_type":"X"}]}']
)
def test_text_that_is_no_configuration_is_refused(text):
    with pytest.raises(InvalidRequest, match="^Invalid model configuration: "):
        decode_config(text)


def test_an_empty_object_is_an_empty_configuration():
    assert decode_config("{}") == TritonConfig()
