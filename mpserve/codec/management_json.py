"""JSON bodies of metadata and of the model repository extension.

Source: Triton's HTTP frontend; MLServer 1.7.1 as seen running; KServe V2 "Model Repository".
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import orjson

from mpserve.codec import field_fault
from mpserve.codec.field_fault import InvalidFields
from mpserve.codec.json_member import NO_MEMBERS, NOT_A_BOOLEAN, NOT_A_STRING, as_object
from mpserve.codec.mlserver_json import parse_body
from mpserve.codec.strict_json import JsonValue, parse
from mpserve.dialect import Dialect
from mpserve.errors import InternalError, InvalidRequest, MalformedRequest
from mpserve.model.metadata import ModelMetadata, ServerMetadata, TensorMetadata
from mpserve.model.request import Bytes
from mpserve.model.state import IndexRow, ModelState

_CONFIG: Final = "config"
_FILE_PREFIX: Final = "file:"
_BOOLEANS: Final[dict[str | int | float, bool]] = {  # what pydantic takes for one
    **dict.fromkeys((1, "1", "on", "t", "true", "y", "yes"), True),
    **dict.fromkeys((0, "0", "off", "f", "false", "n", "no"), False),
}


class LoadParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a load call overrides.

    Attributes
    ----------
    config
        JSON text of the configuration, "" for the repository's.
    files
        Relative path -> content; not empty means that the repository's files are not looked at.
    """

    config: str = ""
    files: dict[str, bytes] = {}


def read_load(body: Bytes) -> LoadParameters:
    """Read the body of a load call (Triton).

    Raises
    ------
    MalformedRequest, InternalError
        As the peer: broken JSON, a value that is no string, an unknown name.
    InvalidRequest
        A file that is not base64.
    """
    config = ""
    files: dict[str, bytes] = {}
    for name, value in _parameters(body).items():
        if not isinstance(value, str):
            raise MalformedRequest(NOT_A_STRING)
        if name == _CONFIG:
            config = value
        elif name.startswith(_FILE_PREFIX):
            files[name.removeprefix(_FILE_PREFIX)] = _decode_file(name, value)
        else:
            raise InternalError("unexpected error on creating Triton parameter")
    return LoadParameters(config=config, files=files)


def read_unload(body: Bytes) -> bool:
    """Return whether the dependents are to be unloaded too (Triton).

    A value that is no boolean is ignored, as the peer ignores it.
    """
    document = parse(body) if len(body) else {}
    parameters = document.get("parameters") if isinstance(document, dict) else None
    return isinstance(parameters, dict) and parameters.get("unload_dependents") is True


def read_index(body: Bytes, *, dialect: Dialect) -> bool:
    """Return whether only ready versions are wanted.

    Raises
    ------
    MalformedRequest
        Broken JSON, or `ready` is no boolean; with MLServer's details where it asks for a body.
    """
    if dialect.index_needs_body:
        return _read_index_fields(parse_body(body))
    if not len(body):
        return False
    ready = as_object(parse(body), "ready").get("ready", False)
    if not isinstance(ready, bool):
        raise MalformedRequest(NOT_A_BOOLEAN)
    return ready


def index_body(rows: Iterable[IndexRow], *, dialect: Dialect) -> bytes:
    """Return the body of an index answer, rows in their order."""
    return orjson.dumps([_index_row(row, dialect) for row in rows])


def server_metadata_body(metadata: ServerMetadata) -> bytes:
    """Return the body of a server metadata answer."""
    return msgspec.json.encode(metadata)


def model_metadata_body(metadata: ModelMetadata, *, dialect: Dialect) -> bytes:
    """Return the body of a model metadata answer."""
    members: dict[str, Any] = {
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": [_tensor(tensor) for tensor in metadata.inputs],
        "outputs": [_tensor(tensor) for tensor in metadata.outputs],
    }
    if dialect.response_names_parameters:
        members["parameters"] = orjson.Fragment(metadata.parameters_json or "{}")
    return orjson.dumps(members)


def _parameters(body: Bytes) -> dict[str, JsonValue]:
    document = parse(body) if len(body) else {}
    if not isinstance(document, dict):
        return {}
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise MalformedRequest(NO_MEMBERS)
    return parameters


def _decode_file(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"the value of '{name}' is not base64: {error}") from error


def _read_index_fields(document: JsonValue) -> bool:
    if not isinstance(document, dict):
        raise InvalidFields(field_fault.not_an_object("body", found=document))
    ready = document.get("ready")
    if ready is None or isinstance(ready, bool):
        return ready is True
    if not isinstance(ready, str | int | float):
        raise InvalidFields(
            field_fault.wrong_type("bool_type", "boolean", "body", "ready", found=ready)
        )
    read = _BOOLEANS.get(ready.lower() if isinstance(ready, str) else ready)
    if read is None:
        what = "boolean, unable to interpret input"
        raise InvalidFields(
            field_fault.wrong_type("bool_parsing", what, "body", "ready", found=ready)
        )
    return read


def _index_row(row: IndexRow, dialect: Dialect) -> dict[str, str]:
    members = {"name": row.name}
    if row.version:
        members["version"] = row.version
    if row.state is not None:
        members["state"] = row.state.value
    elif dialect.index_shows_unloaded_state:
        members["state"] = ModelState.UNAVAILABLE.value
    if row.reason or dialect.index_shows_empty_reason:
        members["reason"] = row.reason
    return members


def _tensor(tensor: TensorMetadata) -> dict[str, Any]:
    members: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype.name,
        "shape": tensor.shape,
    }
    if tensor.parameters_json:
        members["parameters"] = orjson.Fragment(tensor.parameters_json)
    return members
