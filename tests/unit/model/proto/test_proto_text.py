import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from msgspec.structs import fields

from mpserve.errors import InternalError
from mpserve.model.proto.proto_text import parse_proto
from mpserve.model.proto.schema import config_class, config_descriptor
from mpserve.model.triton import config as triton_config
from mpserve.model.triton.config_message import ConfigMessage


def test_field_numbers_are_those_of_the_wire():
    numbers = {field.name: field.number for field in config_descriptor().fields}
    assert numbers["backend"] == 17
    assert numbers["dynamic_batching"] == 11
    assert numbers["model_metrics"] == 26
    assert 22 not in numbers.values()


def test_a_message_round_trips_over_the_wire():
    message = config_class()(name="m", max_batch_size=8)
    assert message.SerializeToString() == b"\x0a\x01m\x20\x08"


def test_the_schema_and_the_structs_have_the_same_fields_in_the_same_order():
    """Walks both trees side by side; a field that one of them lacks, or has elsewhere, fails."""

    def compare(descriptor, struct):
        names = [field.name for field in descriptor.fields]
        assert names == [field.encode_name for field in fields(struct)], descriptor.full_name
        for field, own in zip(descriptor.fields, fields(struct), strict=True):
            for child in structs_in(own.type):
                message = field.message_type
                if message.GetOptions().map_entry:
                    message = message.fields_by_name["value"].message_type
                compare(message, child)

    compare(config_descriptor(), triton_config.TritonConfig)


def structs_in(annotation):
    return [
        argument
        for argument in getattr(annotation, "__args__", ())
        if isinstance(argument, type) and issubclass(argument, ConfigMessage)
    ]


def test_what_the_reader_understands_is_what_protobuf_means():
    text = """
        syntax = "proto3"; // a comment
        package p;
        message M {
          enum E { ZERO = 0; ONE = 1; }
          message N { bool flag = 1; }
          oneof choice { N first = 1; string second = 2; }
          repeated E many = 3;
          map<string, N> by_name = 4;
        }
    """
    file = parse_proto(text, name="t.proto")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = pool.FindMessageTypeByName("p.M")
    assert message.fields_by_name["first"].containing_oneof.name == "choice"
    assert message.fields_by_name["many"].enum_type.full_name == "p.M.E"
    entry = message.fields_by_name["by_name"].message_type
    assert entry.full_name == "p.M.ByNameEntry"
    assert entry.GetOptions().map_entry
    assert file.message_type[0].field[2].label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("extend M {}", "'extend' is not understood"),
        ("service S { option x = 1; }", "'option' is not understood"),
        ("message M { string a 1; }", "expected '=', found '1'"),
        ("message M {", "ends in the middle"),
        ("message M { string a = 1; } %", "unexpected character at offset 28"),
    ],
)
def test_what_the_reader_does_not_understand_is_refused(text, reason):
    with pytest.raises(InternalError, match=reason) as refused:
        parse_proto(text, name="t.proto")
    assert str(refused.value).startswith("t.proto: ")
