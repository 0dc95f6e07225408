"""`.proto` text to descriptors, at run time and without `protoc`.

Only what our own files use is understood: proto3, imports, services, messages, enums, `oneof`,
`map`, `repeated`. Importing this imports protobuf.
"""

import re
from typing import Final

from google.protobuf import descriptor_pb2

from mpserve.errors import InternalError

_Field = descriptor_pb2.FieldDescriptorProto
SCALARS: Final[dict[str, _Field.Type.ValueType]] = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
_TOKEN = re.compile(r'//[^\n]*|\s+|([A-Za-z_][\w.]*|\d+|"[^"]*"|[{}()=;<>,])')


def parse_proto(text: str, *, name: str) -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor of a `.proto` file.

    Raises
    ------
    InternalError
        With the file's `name`, when the text has more than this reader understands.
    """
    file = descriptor_pb2.FileDescriptorProto(name=name)
    reader = _Reader(_tokens(text, name), name)
    while reader.rest:
        match reader.take():
            case "syntax":
                reader.expect("=")
                file.syntax = reader.take().strip('"')
                reader.expect(";")
            case "package":
                file.package = reader.take()
                reader.expect(";")
            case "import":
                file.dependency.append(reader.take().strip('"'))
                reader.expect(";")
            case "service":
                reader.read_service(file.service.add())
            case "message":
                reader.read_message(file.message_type.add())
            case "enum":
                reader.read_enum(file.enum_type.add())
            case word:
                reader.refuse(word)
    return file


def _tokens(text: str, name: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise InternalError(f"{name}: unexpected character at offset {position}")
        if match[1]:
            tokens.append(match[1])
        position = match.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens, kept in reverse."""

    def __init__(self, tokens: list[str], name: str) -> None:
        self.rest = tokens[::-1]
        self.name = name

    def take(self) -> str:
        if not self.rest:
            raise InternalError(f"{self.name}: ends in the middle of a declaration")
        return self.rest.pop()

    def expect(self, token: str) -> None:
        word = self.take()
        if word != token:
            raise InternalError(f"{self.name}: expected '{token}', found '{word}'")

    def refuse(self, word: str) -> None:
        raise InternalError(f"{self.name}: '{word}' is not understood")

    def read_service(self, service: descriptor_pb2.ServiceDescriptorProto) -> None:
        service.name = self.take()
        self.expect("{")
        while (word := self.take()) != "}":
            if word != "rpc":
                self.refuse(word)
            self.read_method(service.method.add(name=self.take()))

    def read_method(self, method: descriptor_pb2.MethodDescriptorProto) -> None:
        method.input_type, method.client_streaming = self.read_message_name()
        self.expect("returns")
        method.output_type, method.server_streaming = self.read_message_name()
        self.expect(";")

    def read_message_name(self) -> tuple[str, bool]:
        """Return the name between parentheses and whether it is a stream of such messages."""
        self.expect("(")
        name = self.take()
        is_stream = name == "stream"
        if is_stream:
            name = self.take()
        self.expect(")")
        return name, is_stream

    def read_enum(self, enum: descriptor_pb2.EnumDescriptorProto) -> None:
        enum.name = self.take()
        self.expect("{")
        while (word := self.take()) != "}":
            self.expect("=")
            enum.value.add(name=word, number=int(self.take()))
            self.expect(";")

    def read_message(self, message: descriptor_pb2.DescriptorProto) -> None:
        message.name = self.take()
        self.expect("{")
        while (word := self.take()) != "}":
            match word:
                case "message":
                    self.read_message(message.nested_type.add())
                case "enum":
                    self.read_enum(message.enum_type.add())
                case "oneof":
                    self.read_oneof(message)
                case "map":
                    self.read_map(message)
                case "repeated":
                    self.read_field(message, self.take()).label = _Field.LABEL_REPEATED
                case _:
                    self.read_field(message, word)

    def read_oneof(self, message: descriptor_pb2.DescriptorProto) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=self.take())
        self.expect("{")
        while (word := self.take()) != "}":
            self.read_field(message, word).oneof_index = index

    def read_field(
        self, message: descriptor_pb2.DescriptorProto, type_name: str
    ) -> descriptor_pb2.FieldDescriptorProto:
        field = message.field.add(label=_Field.LABEL_OPTIONAL)
        _set_type(field, type_name)
        field.name = self.take()
        self.expect("=")
        field.number = int(self.take())
        self.expect(";")
        return field

    def read_map(self, message: descriptor_pb2.DescriptorProto) -> None:
        self.expect("<")
        key_type = self.take()
        self.expect(",")
        value_type = self.take()
        self.expect(">")
        entry = message.nested_type.add()  # what protoc makes of a map: repeated pairs
        entry.options.map_entry = True
        for number, (name, type_name) in enumerate((("key", key_type), ("value", value_type)), 1):
            _set_type(
                entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL), type_name
            )
        field = self.read_field(message, "Entry")
        field.label = _Field.LABEL_REPEATED
        entry.name = field.type_name = f"{_camel(field.name)}Entry"


def _set_type(field: descriptor_pb2.FieldDescriptorProto, type_name: str) -> None:
    if type_name in SCALARS:
        field.type = SCALARS[type_name]
    else:
        field.type_name = type_name  # message or enum: the pool finds out which


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
