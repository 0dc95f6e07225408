#include <random>
#include <string>

#include "check.hpp"
#include "codec_fixtures.hpp"
#include "mpserve/proto_decode.hpp"
#include "mpserve/proto_encode.hpp"

using namespace mpserve;
using namespace mpserve::fixtures;
using enum mpserve::DecodeOutcome;

namespace {

std::string field(std::uint32_t number, const std::string& content) {
    std::string text(content.size() + 16, '\0');
    text.resize(
        static_cast<std::size_t>(put_delimited(text.data(), number, content) - text.data()));
    return text;
}

std::string shape_of(std::initializer_list<std::uint64_t> sizes) {
    std::string text(sizes.size() * 10, '\0');
    char* at = text.data();
    for (const auto size : sizes) at = put_varint(at, size);
    text.resize(static_cast<std::size_t>(at - text.data()));
    return field(3, text);
}

std::string tensor(const std::string& name, const std::string& datatype,
                   std::initializer_list<std::uint64_t> sizes) {
    return field(5, field(1, name) + field(2, datatype) + shape_of(sizes));
}

const std::string kModel = field(1, "m");
const std::string kTwoFloats = std::string("\0\0\x80\x3f\0\0\0\xc0", 8);  // 1.0, -2.0

DecodeOutcome outcome_of(const std::string& body) {
    return decode_proto(body, open_signature()).outcome;
}

std::string number(std::uint32_t field_number, std::uint64_t value) {
    std::string text(16, '\0');
    char* at = text.data();
    *at++ = static_cast<char>(field_number << 3);
    text.resize(static_cast<std::size_t>(put_varint(at, value) - text.data()));
    return text;
}

std::string parameter(std::uint32_t field_number, const std::string& key,
                      const std::string& value) {
    return field(field_number, field(1, key) + field(2, value));
}

// Parameters of an input (4) or an output (2) in a region.
std::string piece(std::uint32_t field_number, const std::string& name, std::uint64_t bytes,
                  std::uint64_t offset = 0) {
    return parameter(field_number, "shared_memory_byte_size", number(2, bytes)) +
           parameter(field_number, "shared_memory_region", field(3, name)) +
           parameter(field_number, "shared_memory_offset", number(2, offset));
}

std::string input_of(const std::string& parameters, const std::string& word = "FP32") {
    return field(5, field(1, "A") + field(2, word) + shape_of({2}) + parameters);
}

std::string request() { return kModel + tensor("A", "FP32", {1, 2}) + field(7, kTwoFloats); }

}  // namespace

TEST_CASE(a_request_becomes_a_message) {
    const std::string strings("\0\0\0\0\2\0\0\0ab", 10);
    const auto body = kModel + field(2, "1") + field(3, "r1") + tensor("A", "FP32", {1, 2}) +
                      tensor("S", "BYTES", {2}) + field(6, field(1, "X")) +
                      field(6, field(1, "Y")) + field(7, kTwoFloats) + field(7, strings);
    const auto decoded = decode_proto(body, open_signature());
    CHECK_EQUAL(decoded.outcome, accepted);
    CHECK_EQUAL(decoded.message,
                "id=r1 parameters= flags=12\n"
                "A FP32,1,2  0000803f000000c0\n"
                "S BYTES,2  00000000020000006162\n"
                "-> X 3\n-> Y 3");
    CHECK(decoded.is_aligned);
    CHECK(decoded.used <= decoded.planned);
}

TEST_CASE(fields_may_come_in_any_order) {
    const auto wanted = decode_proto(request(), open_signature()).message;
    const auto input = tensor("A", "FP32", {1, 2});
    CHECK_EQUAL(decode_proto(field(7, kTwoFloats) + input + kModel, open_signature()).message,
                wanted);
    const std::string unpacked("\x18\x01\x18\x02", 4);  // the shape, element by element
    const auto other = field(5, unpacked + field(2, "FP32") + field(1, "A"));
    CHECK_EQUAL(decode_proto(kModel + other + field(7, kTwoFloats), open_signature()).message,
                wanted);
}

TEST_CASE(a_request_that_lies_in_its_block_is_the_same) {
    const std::string strings("\0\0\0\0\2\0\0\0ab", 10);
    const auto eight = kTwoFloats;
    const std::string bodies[] = {
        request(),
        kModel + tensor("A", "FP32", {1, 2}) + tensor("S", "BYTES", {2}) + field(6, field(1, "X")) +
            field(7, kTwoFloats) + field(7, strings),
        kModel + field(3, "id") + tensor("B", "UINT8", {3}) + tensor("D", "FP64", {1}) +
            tensor("H", "FP16", {4}) + tensor("I", "INT64", {1}) + field(7, "abc") +
            field(7, eight) + field(7, eight) + field(7, eight)};
    for (const auto& body : bodies) {
        const auto copied = decode_proto(body, open_signature());
        for (std::uint64_t skew = 0; skew < 16; ++skew) {
            const auto in_place = decode_proto_in_place(body, open_signature(), skew);
            CHECK_EQUAL(in_place.outcome, accepted);
            CHECK_EQUAL(in_place.message, copied.message);
            CHECK(in_place.is_aligned);
            CHECK(in_place.used <= in_place.planned);
        }
    }
}

TEST_CASE(what_stands_before_the_tensors_is_found_where_it_can_be_seen) {
    const auto body = request();
    const auto before = static_cast<std::uint32_t>(body.size() - kTwoFloats.size());
    CHECK_EQUAL(ProtoInferDecoder::bytes_before_tensors(body).value_or(0), before);
    const auto cut = std::string_view(body).substr(0, before);
    CHECK_EQUAL(ProtoInferDecoder::bytes_before_tensors(cut).value_or(0), before);
    for (std::size_t bytes = 0; bytes + 1 < before; ++bytes) {
        CHECK(!ProtoInferDecoder::bytes_before_tensors(std::string_view(body).substr(0, bytes)));
    }
}

TEST_CASE(tensors_in_front_of_their_inputs_need_another_block) {
    const auto body = kModel + field(7, std::string(100, 'x')) + field(7, kTwoFloats) +
                      tensor("B", "UINT8", {100}) + tensor("A", "FP32", {1, 2});
    CHECK_EQUAL(decode_proto(body, open_signature()).outcome, accepted);
    CHECK_EQUAL(decode_proto_in_place(body, open_signature()).outcome, room);
}

TEST_CASE(what_is_rare_is_left_to_python) {
    const auto rest = field(7, kTwoFloats);
    CHECK_EQUAL(outcome_of(request() + field(4, field(1, "x") + field(2, ""))), feature);
    CHECK_EQUAL(outcome_of(request() + field(9, "")), feature);  // a later protocol
    CHECK_EQUAL(outcome_of(request() + kModel), structure);      // given twice
    CHECK_EQUAL(outcome_of(kModel + tensor("A", "FP32", {1, 2})), count);
    CHECK_EQUAL(outcome_of(request() + rest), count);
    CHECK_EQUAL(outcome_of(kModel), count);
    CHECK_EQUAL(outcome_of(kModel + field(5, field(1, "A") + field(5, "")) + rest), feature);
    CHECK_EQUAL(outcome_of(request() + field(6, field(2, ""))), feature);
    CHECK_EQUAL(outcome_of(kModel + tensor("A", "FP33", {1, 2}) + rest), datatype);
    CHECK_EQUAL(outcome_of(kModel + tensor("A", "FP32", {1, 3}) + rest), count);
    CHECK_EQUAL(outcome_of(kModel + tensor("A", "FP32", {std::uint64_t(-1), 2}) + rest), shape);
    CHECK_EQUAL(outcome_of(kModel + tensor("A", "FP32", {1ull << 62, 1ull << 62}) + rest), shape);
    CHECK_EQUAL(outcome_of(kModel + tensor("\xff", "FP32", {1, 2}) + rest), structure);
    CHECK_EQUAL(outcome_of(kModel + tensor("S", "BYTES", {3}) + rest), count);
}

TEST_CASE(what_is_said_of_a_sequence_is_read) {
    const auto parameter = [](const std::string& key, const std::string& value) {
        return field(4, field(1, key) + field(2, value));
    };
    const auto rest = tensor("A", "INT8", {1}) + field(7, "\x01");
    const auto decoded = [&](const std::string& parameters) {
        return decode_proto(kModel + parameters + rest, open_signature());
    };
    const std::string yes("\x08\x01", 2);
    const std::string seven("\x10\x07", 2);
    const auto id = parameter("sequence_id", seven);
    const auto start = parameter("sequence_start", yes);
    const auto end = parameter("sequence_end", yes);
    CHECK_EQUAL(decoded(id + start + end).message,
                "id= parameters= flags=7 sequence=7\nA INT8,1  01");
    CHECK_EQUAL(decode_proto_in_place(kModel + id + rest, open_signature()).message,
                "id= parameters= flags=4 sequence=7\nA INT8,1  01");
    CHECK_EQUAL(decoded(parameter("sequence_id", field(3, "a b"))).message,
                "id= parameters= flags=4 sequence='a b'\nA INT8,1  01");
    CHECK_EQUAL(decoded(parameter("sequence_id", yes)).outcome, structure);
    CHECK_EQUAL(decoded(parameter("sequence_id", seven + seven)).outcome, structure);
    CHECK_EQUAL(decoded(parameter("sequence_id", "")).outcome, structure);
    CHECK_EQUAL(decoded(parameter("sequence_start", seven)).outcome, structure);
    CHECK_EQUAL(decoded(start + start).outcome, structure);
    CHECK_EQUAL(decoded(field(4, field(2, seven) + field(1, "sequence_id"))).outcome, structure);
    CHECK_EQUAL(decoded(parameter("priority", seven)).outcome, feature);
}

TEST_CASE(a_signature_is_kept) {
    Signature signature;
    signature.max_batch_size = 4;
    signature.inputs = {spec("A", Datatype::fp32, {-1, 2}),
                        spec("B", Datatype::int8, {-1, 1}, true)};
    signature.outputs = {spec("X", Datatype::fp32, {-1, 2})};
    const auto judge = [&signature](const std::string& body) {
        return decode_proto(kModel + body, signature).outcome;
    };
    const auto good = tensor("A", "FP32", {1, 2}) + field(7, kTwoFloats);
    CHECK_EQUAL(judge(good), accepted);
    CHECK_EQUAL(judge(good + field(6, field(1, "X"))), accepted);
    CHECK_EQUAL(judge(good + field(6, field(1, "Y"))), name);
    CHECK_EQUAL(judge(good + field(6, field(1, "X")) + field(6, field(1, "X"))), name);
    CHECK_EQUAL(judge(good + tensor("B", "INT8", {1, 1}) + field(7, "b")), accepted);
    CHECK_EQUAL(judge(good + tensor("B", "INT8", {2, 1}) + field(7, "bb")), shape);
    CHECK_EQUAL(judge(tensor("B", "INT8", {1, 1}) + field(7, "b")), name);  // A is missing
    CHECK_EQUAL(judge(tensor("A", "FP32", {2, 1}) + field(7, kTwoFloats)), shape);
    CHECK_EQUAL(judge(tensor("A", "INT32", {1, 2}) + field(7, kTwoFloats)), datatype);
    CHECK_EQUAL(judge(tensor("C", "FP32", {1, 2}) + field(7, kTwoFloats)), name);
}

TEST_CASE(no_bytes_are_read_past_the_end) {
    const auto whole = request() + field(3, "r1") + field(6, field(1, "X"));
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
        decode_proto(whole.substr(0, bytes), open_signature());
    }
    std::mt19937_64 random(check::seed());
    for (int round = 0; round < 20'000; ++round) {
        auto body = whole;
        for (auto changes = 1 + random() % 3; changes > 0; --changes) {
            body[random() % body.size()] = static_cast<char>(random());
        }
        const auto decoded = decode_proto(body, open_signature());
        CHECK(decoded.outcome != room);
        CHECK(decoded.message != "does not open");
        const auto placed =
            decode_proto_in_place(body, open_signature(), static_cast<std::uint64_t>(round % 16));
        if (placed.outcome == accepted) CHECK_EQUAL(placed.message, decoded.message);
    }
}

TEST_CASE(a_response_becomes_its_message) {
    TestBlock block(4096);
    MessageBuilder builder;
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::response);
    CHECK(builder.append_text(R"({"yes":true,"n":-1,"t":"x"})", builder.header().parameters));
    Text parameters{};
    CHECK(builder.append_text(R"({"content_type":"np"})", parameters));
    const std::int64_t sizes[] = {1, 2};
    auto* place = builder.append_tensor("Y", Datatype::fp32, sizes, kTwoFloats.size());
    std::memcpy(place, kTwoFloats.data(), kTwoFloats.size());
    builder.set_tensor_parameters(parameters);
    CHECK(builder.append_tensor("", Datatype::int8, {}, 1) != nullptr);
    CHECK(builder.finish());
    const auto view = MessageView::open(block.data(), block.bytes());
    ProtoInferEncoder encoder;
    CHECK(encoder.plan(*view, {.model_name = "m", .model_version = "", .id = "r"}));
    std::string encoded(encoder.bytes(), '\0');
    encoder.write(encoded.data());
    const auto entry = [](const std::string& key, const std::string& value) {
        return field(4, field(1, key) + field(2, value));
    };
    const auto scalar_output = view->tensor(1);
    CHECK_EQUAL(encoded, field(1, "m") + field(3, "r") + entry("yes", "\x08\x01") +
                             entry("n", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") +
                             entry("t", field(3, "x")) +
                             field(5, field(1, "Y") + field(2, "FP32") + field(3, "\x01\x02") +
                                          entry("content_type", field(3, "np"))) +
                             field(5, field(2, "INT8")) + field(6, kTwoFloats) +
                             field(6, {reinterpret_cast<const char*>(scalar_output.data), 1}));
}

TEST_CASE(large_outputs_may_be_lent) {
    TestBlock block(4096);
    MessageBuilder builder;
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::response);
    for (const std::uint64_t bytes :
         {std::uint64_t{3}, std::uint64_t{300}, std::uint64_t{0}, std::uint64_t{200}}) {
        const std::int64_t sizes[] = {static_cast<std::int64_t>(bytes)};
        auto* place = builder.append_tensor("Y", Datatype::uint8, sizes, bytes);
        std::memset(place, static_cast<int>(bytes % 251), bytes);
    }
    CHECK(builder.finish());
    const auto view = MessageView::open(block.data(), block.bytes());
    ProtoInferEncoder encoder;
    CHECK(encoder.plan(*view, {.model_name = "m", .model_version = "", .id = ""}));
    std::string whole(encoder.bytes(), '\0');
    encoder.write(whole.data());
    for (const std::uint64_t lend_from : {1, 4, 250, 1000}) {
        ByteBuffer out;
        out.append("PRE");
        std::vector<ResponseSegment> segments;
        encoder.write_lending(out, segments, lend_from);
        std::string joined;
        std::uint64_t lent = 0;
        for (const auto& segment : segments) {
            const auto* data = segment.borrowed != nullptr
                                   ? reinterpret_cast<const char*>(segment.borrowed)
                                   : out.data() + segment.offset;
            joined.append(data, segment.bytes);
            if (segment.borrowed != nullptr) lent += segment.bytes;
        }
        CHECK(joined == whole);
        CHECK_EQUAL(lent, lend_from == 1     ? 503u
                          : lend_from == 4   ? 500u
                          : lend_from == 250 ? 300u
                                             : 0u);
        CHECK_EQUAL(encoder.has_output_of(lend_from), lend_from != 1000);
    }
}

TEST_CASE(an_answer_of_a_stream_is_wrapped_and_told_to_be_the_last) {
    TestBlock block(1024);
    MessageBuilder builder;
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::response);
    const std::int64_t sizes[] = {8};
    auto* place = builder.append_tensor("Y", Datatype::int8, sizes, kTwoFloats.size());
    std::memcpy(place, kTwoFloats.data(), kTwoFloats.size());
    CHECK(builder.finish());
    const auto view = MessageView::open(block.data(), block.bytes());
    ProtoInferEncoder encoder;
    CHECK(encoder.plan(*view,
                       {.model_name = "m", .model_version = "1", .id = "r", .in_stream = true}));
    std::string encoded(encoder.bytes(), '\0');
    encoder.write(encoded.data());
    const auto last = field(4, field(1, "triton_final_response") + field(2, "\x08\x01"));
    CHECK_EQUAL(encoded,
                field(2, field(1, "m") + field(2, "1") + field(3, "r") + last +
                             field(5, field(1, "Y") + field(2, "INT8") + field(3, "\x08")) +
                             field(6, kTwoFloats)));
}

TEST_CASE(parameters_without_a_plain_form_are_left_to_python) {
    for (const char* const object :
         {R"({"a":0.5})", R"({"a":null})", R"({"a":[]})", R"({"a":"\n"})", R"({"\u0061":1})",
          R"({"a":1,"a":2})", R"({"a":18446744073709551615})", R"({"a":1)", R"(1)"}) {
        TestBlock block(1024);
        MessageBuilder builder;
        builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::response);
        CHECK(builder.append_text(object, builder.header().parameters));
        CHECK(builder.finish());
        const auto view = MessageView::open(block.data(), block.bytes());
        ProtoInferEncoder encoder;
        CHECK(!encoder.plan(*view, {.model_name = "m", .model_version = "1", .id = ""}));
    }
}

TEST_CASE(tensors_in_regions_are_referred_to) {
    const auto in_region =
        field(5, field(1, "R") + field(2, "INT64") + shape_of({1}) + piece(4, "r", 8, 32));
    const auto body = kModel + in_region + tensor("A", "FP32", {1, 2}) +
                      field(6, field(1, "X") + piece(2, "s", 1u << 20)) + field(6, field(1, "Y")) +
                      field(7, kTwoFloats);
    const std::string message =
        "id= parameters= flags=4\nR INT64,1  @3+96:8\nA FP32,1,2  0000803f000000c0"
        "\n-> X 2 @9+0:1048576\n-> Y 3";
    const auto copied = decode_proto(body, open_signature(), &some_regions());
    CHECK_EQUAL(copied.outcome, accepted);
    CHECK_EQUAL(copied.message, message);
    CHECK(copied.used <= copied.planned);
    for (std::uint64_t skew = 0; skew < 8; ++skew) {
        const auto in_place = decode_proto_in_place(body, open_signature(), skew, &some_regions());
        CHECK_EQUAL(in_place.outcome, accepted);
        CHECK_EQUAL(in_place.message, message);
    }
    CHECK_EQUAL(decode_proto(body, open_signature()).outcome, feature);  // nothing is registered
}

TEST_CASE(claims_without_a_place_are_left_to_python) {
    const auto asked = [](const std::string& parameters, const std::string& rest = "",
                          const std::string& word = "FP32") {
        return decode_proto(kModel + input_of(parameters, word) + rest, open_signature(),
                            &some_regions())
            .outcome;
    };
    const auto name = parameter(4, "shared_memory_region", field(3, "r"));
    const auto size = parameter(4, "shared_memory_byte_size", number(2, 8));
    CHECK_EQUAL(asked(name + size), accepted);
    CHECK_EQUAL(asked(size + name), accepted);
    CHECK_EQUAL(asked(name), feature);
    CHECK_EQUAL(asked(size), feature);
    CHECK_EQUAL(asked(name + name + size), feature);
    CHECK_EQUAL(asked(piece(4, "t", 8)), feature);
    CHECK_EQUAL(asked(piece(4, "r", 8, 33)), feature);
    CHECK_EQUAL(asked(piece(4, "r", 4)), count);
    CHECK_EQUAL(asked(piece(4, "r", 8), "", "BYTES"), feature);
    CHECK_EQUAL(asked(name + size, field(7, kTwoFloats)), count);  // data for nobody
    CHECK_EQUAL(asked(name + size + parameter(4, "mine", number(2, 1))), feature);
    CHECK_EQUAL(asked(parameter(4, "shared_memory_region", number(2, 1)) + size), feature);
    CHECK_EQUAL(asked(name + parameter(4, "shared_memory_byte_size", field(3, "8"))), feature);
    CHECK_EQUAL(asked(name + parameter(4, "shared_memory_byte_size", number(2, 8) + number(2, 8))),
                feature);
    CHECK_EQUAL(asked(name + size + field(4, field(2, field(3, "r")))), feature);  // no key
    CHECK_EQUAL(asked(name + size + field(5, "")), feature);                       // contents
    CHECK_EQUAL(
        asked(name + size, field(6, field(1, "X") + parameter(2, "classification", number(2, 1)))),
        feature);
    CHECK_EQUAL(asked(name + size, field(6, field(1, "X") + piece(2, "r", 41))), feature);
}

TEST_CASE(an_output_in_a_region_is_told_without_its_data) {
    TestBlock block(4096);
    MessageBuilder builder;
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::response);
    constexpr std::int64_t shape[] = {1 << 20};
    CHECK(builder.refer_region("X", Datatype::fp32, shape, 3, 64, 4u << 20));
    CHECK(builder.finish());
    const auto view = MessageView::open(block.data(), block.bytes());
    CHECK(view.has_value());
    if (!view) return;
    ProtoInferEncoder encoder;
    CHECK(encoder.plan(*view, {.model_name = "m", .model_version = "1", .id = ""}));
    CHECK(!encoder.has_output_of(1));
    std::string told(encoder.bytes(), '?');
    encoder.write(told.data());
    CHECK_EQUAL(told, field(1, "m") + field(2, "1") +
                          field(5, field(1, "X") + field(2, "FP32") + shape_of({1 << 20})) +
                          field(6, ""));
    ByteBuffer out;
    std::vector<ResponseSegment> segments;
    encoder.write_lending(out, segments, 1024);
    CHECK_EQUAL(std::string(out.view()), told);
}

int main() { return mpserve::check::run_all(); }
