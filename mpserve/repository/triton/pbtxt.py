"""Text of a model configuration to `TritonConfig`: `config.pbtxt`, and the JSON of a load override.

protobuf is imported by the first text that is parsed, or by `prepare_parsing`: a server without
Triton models never pays for it.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.model.triton.config import TritonConfig
from mpserve.repository.triton.known_texts import KnownTexts

_KNOWN: Final = KnownTexts()

Json = dict[str, object]

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message


def prepare_parsing() -> None:
    """Do now what else the first text that is parsed has to wait for."""
    from google.protobuf import json_format, text_format  # noqa: F401, PLC0415  # see above

    from mpserve.model.proto.schema import config_class  # noqa: PLC0415

    config_class()


def parse_text_config(text: str, *, path: str) -> TritonConfig:
    """Parse protobuf text format.

    Parameters
    ----------
    path
        Where the text is from.

    Raises
    ------
    RepositoryError
        With path, line and column.
    """
    from google.protobuf import text_format  # noqa: PLC0415  # see the module's docstring

    try:
        config = _KNOWN.meaning(text) or _parsed(text)
    except text_format.ParseError as error:
        where = f"{path}:{error.GetLine()}:{error.GetColumn()}"
        reason = str(error).removeprefix(f"{error.GetLine()}:{error.GetColumn()} : ")
        raise RepositoryError(
            f"failed to read text proto from {path}: {reason} ({where})"
        ) from error
    except (msgspec.ValidationError, RecursionError) as error:
        raise RepositoryError(f"failed to read text proto from {path}: {error}") from error
    _KNOWN.keep(path, text, config)
    return config


def forget_texts(folder: str) -> None:
    """Let go of what the texts in the folder of a model meant: it was unloaded, or is gone."""
    _KNOWN.forget(folder)


def _parsed(text: str) -> TritonConfig:
    from google.protobuf import text_format  # noqa: PLC0415  # loaded by the caller

    from mpserve.model.proto.schema import config_class  # noqa: PLC0415

    message = config_class()()
    text_format.Parse(text, message)
    return config_of(message)


def parse_json_config(text: str) -> TritonConfig:
    """Parse the JSON form: names in snake or camel case, enums in any case, 64-bit numbers as
    strings too, unknown fields refused.

    Raises
    ------
    InvalidRequest
        `Invalid config override: <what is wrong>`.
    """
    from google.protobuf import json_format  # noqa: PLC0415  # see the module's docstring

    from mpserve.model.proto.schema import (  # noqa: PLC0415
        config_class,
        config_descriptor,
    )

    message = config_class()()
    try:
        fields = msgspec.json.decode(text, type=Json)
        json_format.ParseDict(_upper_enums(fields, config_descriptor()), message)
        return config_of(message)
    except json_format.ParseError as error:
        # protobuf appends the list of all fields to its message
        raise _invalid_override(str(error).partition("\n")[0]) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid_override(str(error)) from error


def _invalid_override(reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid config override: {reason}")


def config_of(message: "Message") -> TritonConfig:
    """Return the configuration in a protobuf message."""
    from google.protobuf import json_format  # noqa: PLC0415  # loaded by the caller

    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    # not strict: protobuf's JSON has 64-bit numbers as strings
    return msgspec.convert(fields, TritonConfig, strict=False)


def _upper_enums(value: Json, message: "Descriptor") -> Json:
    """Return a JSON object with the words of its enum fields in capitals.

    Values of the wrong kind are left as they are: protobuf says what is wrong with them.
    """
    fields = dict(message.fields_by_name) | dict(message.fields_by_camelcase_name)
    return {
        name: _upper_field(child, fields[name]) if name in fields else child
        for name, child in value.items()
    }


def _upper_field(value: object, field: "FieldDescriptor") -> object:
    if isinstance(value, list):
        return [_upper_field(item, field) for item in value]
    if field.enum_type is not None:
        return value.upper() if isinstance(value, str) else value
    message = field.message_type
    if message is None or not isinstance(value, dict):
        return value
    if not message.GetOptions().map_entry:
        return _upper_enums(value, message)
    entry = message.fields_by_name["value"]
    return {key: _upper_field(child, entry) for key, child in value.items()}
