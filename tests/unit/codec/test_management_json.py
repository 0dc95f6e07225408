"""Bodies of metadata and repository calls."""

import base64
import json

import pytest

from mpserve.codec.field_fault import InvalidFields
from mpserve.codec.management_json import (
    LoadParameters,
    index_body,
    model_metadata_body,
    read_index,
    read_load,
    read_unload,
    server_metadata_body,
)
from mpserve.dialect import MLSERVER, TRITON
from mpserve.errors import ErrorCode, InternalError, InvalidRequest, MalformedRequest
from mpserve.model.metadata import ModelMetadata, ServerMetadata, TensorMetadata
from mpserve.model.state import IndexRow, ModelState
from mpserve.model.tensor import Datatype

ROWS = [
    IndexRow(name="a", version=None, state=None),
    IndexRow(name="b", version="1", state=ModelState.READY),
    IndexRow(name="b", version="2", state=ModelState.UNAVAILABLE, reason="unloaded"),
    IndexRow(name="c", version="", state=ModelState.READY),
]


def test_triton_lists_what_was_never_loaded_by_its_name_alone():
    assert index_body(ROWS, dialect=TRITON) == (
        b'[{"name":"a"},{"name":"b","version":"1","state":"READY"},'
        b'{"name":"b","version":"2","state":"UNAVAILABLE","reason":"unloaded"},'
        b'{"name":"c","state":"READY"}]'
    )


def test_mlserver_lists_state_and_reason_of_every_model():
    assert json.loads(index_body(ROWS, dialect=MLSERVER))[0] == {
        "name": "a", "state": "UNAVAILABLE", "reason": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"), [(b"", False), (b"{}", False), (b'{"ready":true}', True)]
)
def test_triton_reads_which_rows_are_wanted(body, expected):
    assert read_index(body, dialect=TRITON) is expected


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready":1}'])
def test_triton_refuses_other_index_bodies(body):
    with pytest.raises(MalformedRequest):
        read_index(body, dialect=TRITON)


@pytest.mark.parametrize(
    ("body", "expected"), [(b"{}", False), (b'{"ready":null}', False), (b'{"ready":true}', True)]
)
def test_mlserver_reads_which_rows_are_wanted(body, expected):
    assert read_index(body, dialect=MLSERVER) is expected


@pytest.mark.parametrize(
    ("word", "expected"), [(1, True), (0.0, False), ("YES", True), ("off", False)]
)
def test_mlserver_takes_words_for_a_boolean(word, expected):
    assert read_index(json.dumps({"ready": word}).encode(), dialect=MLSERVER) is expected


@pytest.mark.parametrize(
    ("word", "kind"), [(2, "bool_parsing"), ("x", "bool_parsing"), ([], "bool_type")]
)
def test_mlserver_tells_what_is_no_boolean(word, kind):
    with pytest.raises(InvalidFields) as caught:
        read_index(json.dumps({"ready": word}).encode(), dialect=MLSERVER)
    assert caught.value.faults[0].type == kind


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'{"ready":"x"}'])
def test_mlserver_refuses_other_index_bodies(body):
    with pytest.raises(InvalidFields):
        read_index(body, dialect=MLSERVER)


def load_body(**parameters: object) -> bytes:
    return json.dumps({"parameters": parameters}).encode()


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"parameters":{}}'])
def test_a_load_without_parameters_overrides_nothing(body):
    assert read_load(body) == LoadParameters()


def test_parameters_of_a_load_that_are_no_object_are_refused():
    with pytest.raises(MalformedRequest, match="attempt to get members for non-object"):
        read_load(b'{"parameters":3}')


def test_a_load_may_bring_configuration_and_files():
    content = base64.b64encode(b"\0\xff").decode()
    assert read_load(load_body(config="{}", **{"file:1/a.bin": content})) == LoadParameters(
        config="{}", files={"1/a.bin": b"\0\xff"}
    )


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"x", MalformedRequest, ErrorCode.MALFORMED),
        (load_body(config=1), MalformedRequest, ErrorCode.MALFORMED),
        (load_body(other="x"), InternalError, ErrorCode.INTERNAL),
        (load_body(**{"file:x": "?"}), InvalidRequest, ErrorCode.INVALID_ARGUMENT),
        (load_body(**{"file:x": "\u2603"}), InvalidRequest, ErrorCode.INVALID_ARGUMENT),
    ],
)
def test_a_load_with_other_parameters_is_refused(body, kind, code):
    with pytest.raises(kind) as caught:
        read_load(body)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("x", False), (1, False)]
)
def test_unload_dependents_counts_only_as_a_boolean(value, expected):
    assert read_unload(load_body(unload_dependents=value)) is expected


def test_metadata_is_written_in_the_peers_order():
    server = ServerMetadata(name="s", version="1", extensions=("a", "b"))
    assert server_metadata_body(server) == b'{"name":"s","version":"1","extensions":["a","b"]}'
    tensor = TensorMetadata(
        name="x", datatype=Datatype.BYTES, shape=(-1, 2), parameters_json='{"content_type":"str"}'
    )
    model = ModelMetadata(name="m", versions=("1",), platform="p", inputs=(tensor,), outputs=())
    start = (
        b'{"name":"m","versions":["1"],"platform":"p","inputs":[{"name":"x","datatype":"BYTES",'
        b'"shape":[-1,2],"parameters":{"content_type":"str"}}],"outputs":[]'
    )
    assert model_metadata_body(model, dialect=TRITON) == start + b"}"
    assert model_metadata_body(model, dialect=MLSERVER) == start + b',"parameters":{}}'
