"""Whatever a configuration file says, it is parsed or refused with one of our errors."""

import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.model.triton.completion import complete
from mpserve.model.triton.config_json import decode_config, encode_config
from mpserve.model.triton.normalization import fill_backend, normalize
from mpserve.repository.mlserver.model_settings import parse_model_settings
from mpserve.repository.triton.pbtxt import parse_json_config, parse_text_config

WORDS = st.sampled_from(
    [
        "name",
        "input",
        "dims",
        "data_type",
        "TYPE_FP32",
        "version_policy",
        "all",
        "parameters",
        "key",
        "value",
        "dynamic_batching",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "<",
        ">",
        "#",
        '"',
        '"m"',
        "8",
        "-1",
        "1e999",
        "0x7fffffffffffffffff",
        "true",
        "\\",
        "\n",
        "inf",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "input",
                    "dims",
                    "data_type",
                    "parameters",
                    "instance_group",
                    "count",
                    "uri",
                ]
            )
            | st.text(max_size=4),
            child,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DIMS = st.lists(st.integers(1, 2**40) | st.just(-1), min_size=1, max_size=3)
TENSORS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.text(min_size=1, max_size=6),
            "data_type": st.sampled_from(["TYPE_FP32", "TYPE_STRING", "TYPE_UINT64"]),
            "dims": DIMS,
        }
    ),
    max_size=3,
)
CONFIGS = st.fixed_dictionaries(
    {"name": st.just("m"), "backend": st.just("python")},
    optional={
        "max_batch_size": st.integers(0, 2**31 - 1),
        "input": TENSORS,
        "output": TENSORS,
        "dynamic_batching": st.just({}),
        "instance_group": st.lists(st.fixed_dictionaries({"count": st.integers(1, 9)}), max_size=2),
        "parameters": st.dictionaries(
            st.text(max_size=5), st.fixed_dictionaries({"string_value": st.text(max_size=5)})
        ),
        "version_policy": st.sampled_from(
            [{"all": {}}, {"latest": {"num_versions": 3}}, {"specific": {"versions": [2**63 - 1]}}]
        ),
    },
)


# protobuf decodes escapes by a codec that warns of some
@pytest.mark.filterwarnings("ignore::DeprecationWarning:google.protobuf")
@given(st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=40))
@example('name: "\\777"')
@example('name: "\\ud800"')
def test_any_text_is_a_configuration_or_an_error_of_the_repository(text):
    with contextlib.suppress(RepositoryError):
        encode_config(parse_text_config(text, path="p"))


@given(JSON.map(lambda value: msgspec.json.encode(value).decode()) | st.text(max_size=20))
@example('{"name":"\\ud800"}')
def test_any_json_is_a_configuration_or_an_invalid_override(text):
    with contextlib.suppress(InvalidRequest):
        encode_config(parse_json_config(text))


@given(JSON.map(msgspec.json.encode) | st.binary(max_size=20))
def test_any_json_is_model_settings_or_an_error_of_the_repository(text):
    with contextlib.suppress(RepositoryError):
        parse_model_settings(text, path="p", environment={}, folder_name="m")


@given(CONFIGS)
def test_a_printed_configuration_is_read_back_the_same(fields):
    config = parse_json_config(msgspec.json.encode(fields).decode())
    normal = normalize(fill_backend(config, version_entries=()))
    text = encode_config(normal)
    assert decode_config(text) == normal
    assert parse_json_config(text) == normal
    assert normalize(normal) == normal
    assert complete(text, returned_json=text).config_json == text
