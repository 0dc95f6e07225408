#include "mpserve/v2_decode.hpp"

#include <string>

#include "check.hpp"
#include "codec_fixtures.hpp"

using namespace mpserve;
using namespace mpserve::fixtures;
using enum mpserve::DecodeOutcome;

namespace {

constexpr DecodeOptions kKeepParameters{.keep_tensor_parameters = true};
constexpr DecodeOptions kSequences{.reads_sequences = true};

std::string input(const std::string& rest) { return R"({"inputs":[{)" + rest + "}]}"; }

DecodeOutcome outcome_of(const std::string& json, const DecodeOptions& options = {},
                         const std::string& binary = "") {
    return decode(json, binary, open_signature(), options).outcome;
}

std::string little_endian(std::uint32_t value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Two inputs [-1, 2] of FP32 and INT8, an optional third, two outputs, batches of at most 4.
Signature batching_signature() {
    Signature signature;
    signature.max_batch_size = 4;
    signature.inputs = {spec("A", Datatype::fp32, {-1, 2}), spec("B", Datatype::int8, {-1, -1}),
                        spec("C", Datatype::bytes, {-1, 1}, true)};
    signature.outputs = {spec("X", Datatype::fp32, {-1, 2}), spec("Y", Datatype::fp32, {-1, 2})};
    return signature;
}

DecodeOutcome batching_outcome(const std::string& inputs, const std::string& rest = "") {
    return decode("{\"inputs\":[" + inputs + "]" + rest + "}", "", batching_signature()).outcome;
}

constexpr const char* kA = R"({"name":"A","shape":[1,2],"datatype":"FP32","data":[1,2]})";
constexpr const char* kB = R"({"name":"B","shape":[1,1],"datatype":"INT8","data":[7]})";

}  // namespace

TEST_CASE(a_request_becomes_a_message) {
    const auto decoded =
        decode(R"({"id":"r1","parameters":{"a":1,"binary_data_output":true,"b" : "x\n"},)"
               R"("inputs":[{"name":"A","shape":[1,2],"datatype":"FP32","data":[1.5,-2]},)"
               R"({"name":"S","shape":[2],"datatype":"BYTES","data":["","ab"]}],)"
               R"("outputs":[{"name":"X","parameters":{"binary_data":false}},{"name":"Y"},)"
               R"({"name":"Z","parameters":{"binary_data":true}}]})",
               "", open_signature());
    CHECK_EQUAL(decoded.outcome, accepted);
    CHECK_EQUAL(decoded.message,
                "id=r1 parameters={\"a\":1,\"b\" : \"x\\n\"} flags=12\n"
                "A FP32,1,2  0000c03f000000c0\n"
                "S BYTES,2  00000000020000006162\n"
                "-> X 2\n-> Y 0\n-> Z 3");
    CHECK(decoded.is_aligned);
    CHECK(decoded.used <= decoded.planned);
}

TEST_CASE(members_may_come_in_any_order_and_with_blanks) {
    const auto wanted = decode(input(R"("name":"A","shape":[2],"datatype":"INT16","data":[1,2])"),
                               "", open_signature());
    CHECK_EQUAL(wanted.outcome, accepted);
    for (const std::string json :
         {R"({"inputs":[{"data":[1,2],"datatype":"INT16","shape":[2],"name":"A"}]})",
          "\r\n{ \"inputs\" :\t[ { \"shape\" : [ 2 ] , \"data\" : [ 1 , 2 ] , \"name\" : \"A\" , "
          "\"datatype\" : \"INT16\" } ] } \n",
          R"({"outputs":[],"parameters":{},"inputs":[{"parameters":{},"data":[[1],[2]],"name":"A",)"
          R"("shape":[2],"datatype":"INT16"}]})"}) {
        CHECK_EQUAL(decode(json, "", open_signature()).message, wanted.message);
    }
}

TEST_CASE(an_id_may_be_empty_escaped_or_absent) {
    const std::string rest = R"("inputs":[{"name":"A","shape":[0],"datatype":"INT8","data":[]}]})";
    const auto message_of = [&rest](const std::string& id) {
        const auto message = decode("{" + id + rest, "", open_signature()).message;
        return message.substr(0, message.find("\nA "));
    };
    CHECK_EQUAL(message_of(""), "id= parameters= flags=0");
    CHECK_EQUAL(message_of(R"("id":"",)"), "id= parameters= flags=8");
    CHECK_EQUAL(message_of(R"("id":"\u00e4\n",)"), "id=\xc3\xa4\n parameters= flags=8");
    CHECK_EQUAL(outcome_of(R"({"id":")" + std::string(300, 'x') + R"(",)" + rest), accepted);
    CHECK_EQUAL(outcome_of(R"({"id":"\n)" + std::string(300, 'x') + R"(",)" + rest), limit);
    CHECK_EQUAL(outcome_of(R"({"id":5,)" + rest), structure);
    CHECK_EQUAL(outcome_of(R"({"id":null,)" + rest), structure);
}

TEST_CASE(requests_of_the_corpus_are_taken_or_left) {
    for (const auto& line : check::corpus_lines("infer_requests.txt")) {
        const auto space = line.find(' ');
        const auto wanted = line.substr(0, space);
        const auto got = decode_outcome_name(outcome_of(line.substr(space + 1)));
        if (got != wanted) check::fail(__FILE__, __LINE__, line + "\n    got " + std::string(got));
    }
}

TEST_CASE(a_request_that_is_cut_anywhere_is_left) {
    const std::string json =
        R"({"id":"a","inputs":[{"name":"A","shape":[1],"datatype":"BYTES","data":["x"]}],)"
        R"("outputs":[{"name":"B"}],"parameters":{"c":1.5}})";
    CHECK_EQUAL(outcome_of(json), accepted);
    for (std::size_t bytes = 0; bytes < json.size(); ++bytes) {
        if (outcome_of(json.substr(0, bytes)) == accepted) {
            check::fail(__FILE__, __LINE__, "taken: " + json.substr(0, bytes));
        }
    }
}

TEST_CASE(parameters_of_inputs_are_kept_where_the_dialect_wants_them) {
    const auto json = input(R"("name":"A","shape":[1],"datatype":"INT8","data":[1],)"
                            R"("parameters":{"content_type":"np","n":-1.5e3,"t":true})");
    CHECK_EQUAL(outcome_of(json), feature);
    CHECK_EQUAL(decode(json, "", open_signature(), kKeepParameters).message,
                "id= parameters= flags=0\n"
                "A INT8,1 {\"content_type\":\"np\",\"n\":-1.5e3,\"t\":true} 01");
    CHECK_EQUAL(outcome_of(input(R"("name":"A","shape":[1],"datatype":"INT8","data":[1],)"
                                 R"("parameters":{"a":1,"a":2})"),
                           kKeepParameters),
                structure);
}

TEST_CASE(what_is_said_of_a_sequence_is_read_where_the_model_has_some) {
    const auto body = [](const std::string& parameters) {
        return R"({"parameters":{)" + parameters +
               R"(},"inputs":[{"name":"A","shape":[1],"datatype":"INT8","data":[1]}]})";
    };
    const auto decoded = [&](const std::string& parameters) {
        return decode(body(parameters), "", open_signature(), kSequences);
    };
    const auto whole = R"("sequence_id":7,"sequence_start":true,"sequence_end":true,"a":1)";
    CHECK_EQUAL(decoded(whole).message,
                "id= parameters={\"a\":1} flags=3 sequence=7\nA INT8,1  01");
    CHECK_EQUAL(outcome_of(body(whole)), feature);
    CHECK_EQUAL(decoded(R"("sequence_start":false,"sequence_id":"a b")").message,
                "id= parameters= flags=0 sequence='a b'\nA INT8,1  01");
    for (const auto* wrong :
         {R"("sequence_id":-1)", R"("sequence_id":1.5)", R"("sequence_id":true)",
          R"("sequence_id":18446744073709551616)", R"("sequence_start":1)",
          R"("sequence_end":null)", R"("sequence_id":1,"sequence_id":2)",
          R"("sequence_end":true,"sequence_end":true)"}) {
        CHECK_EQUAL(decoded(wrong).outcome, structure);
    }
    CHECK_EQUAL(decoded(R"("sequence_id":"\u0061")").outcome, feature);
}

TEST_CASE(inputs_are_checked_against_the_signature) {
    const std::string a = kA;
    const std::string b = kB;
    CHECK_EQUAL(batching_outcome(a + "," + b), accepted);
    CHECK_EQUAL(batching_outcome(b + "," + a), accepted);
    CHECK_EQUAL(batching_outcome(a), name);
    CHECK_EQUAL(batching_outcome(a + "," + a), name);
    CHECK_EQUAL(
        batching_outcome(a + "," + b + R"(,{"name":"D","shape":[1],"datatype":"INT8","data":[1]})"),
        name);
    CHECK_EQUAL(batching_outcome(a + "," + b +
                                 R"(,{"name":"C","shape":[1,1],"datatype":"BYTES","data":["x"]})"),
                accepted);
    CHECK_EQUAL(
        batching_outcome(a + R"(,{"name":"B","shape":[1,1],"datatype":"INT16","data":[7]})"),
        datatype);
    CHECK_EQUAL(batching_outcome(a + R"(,{"name":"B","shape":[1],"datatype":"INT8","data":[7]})"),
                shape);
    CHECK_EQUAL(
        batching_outcome(R"({"name":"A","shape":[1,3],"datatype":"FP32","data":[1,2,3]},)" + b),
        shape);
    CHECK_EQUAL(
        batching_outcome(a + R"(,{"name":"B","shape":[2,1],"datatype":"INT8","data":[7,8]})"),
        shape);
    CHECK_EQUAL(batching_outcome(
                    R"({"name":"A","shape":[5,2],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9,0]},)"
                    R"({"name":"B","shape":[5,0],"datatype":"INT8","data":[]})"),
                shape);
    CHECK_EQUAL(batching_outcome(R"({"name":"A","shape":[0,2],"datatype":"FP32","data":[]},)"
                                 R"({"name":"B","shape":[0,0],"datatype":"INT8","data":[]})"),
                shape);
}

TEST_CASE(outputs_are_checked_against_the_signature) {
    const std::string inputs = std::string(kA) + "," + kB;
    CHECK_EQUAL(batching_outcome(inputs, R"(,"outputs":[{"name":"Y"},{"name":"X"}])"), accepted);
    CHECK_EQUAL(batching_outcome(inputs, R"(,"outputs":[])"), accepted);
    CHECK_EQUAL(batching_outcome(inputs, R"(,"outputs":[{"name":"Z"}])"), name);
    CHECK_EQUAL(batching_outcome(inputs, R"(,"outputs":[{"name":"X"},{"name":"X"}])"), name);
}

TEST_CASE(open_signatures_still_bound_the_batch) {
    auto signature = open_signature();
    signature.max_batch_size = 2;
    const auto outcome = [&signature](const std::string& shape, const std::string& values) {
        return decode(input(R"("name":"A","datatype":"INT8","shape":)" + shape + R"(,"data":)" +
                            values),
                      "", signature)
            .outcome;
    };
    CHECK_EQUAL(outcome("[2]", "[1,2]"), accepted);
    CHECK_EQUAL(outcome("[3]", "[1,2,3]"), shape);
    CHECK_EQUAL(outcome("[]", "[1]"), shape);
}

TEST_CASE(binary_tensors_are_taken_in_the_order_of_their_inputs) {
    const std::string json =
        R"({"inputs":[{"name":"A","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}},)"
        R"({"name":"J","shape":[1],"datatype":"INT16","data":[-2]},)"
        R"({"name":"S","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}},)"
        R"({"name":"D","shape":[2],"datatype":"FP64","parameters":{"binary_data_size":16}},)"
        R"({"name":"H","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}},)"
        R"({"name":"F","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}}]})";
    const std::string binary = "\x01\x02\x03" + little_endian(1) + "x" + little_endian(0) +
                               "0123456789abcdef" + "\x11\x22" + "\x33\x44\x55\x66";
    const auto copied = decode(json, binary, open_signature());
    CHECK_EQUAL(copied.message,
                "id= parameters= flags=0\n"
                "A UINT8,3  010203\n"
                "J INT16,1  feff\n"
                "S BYTES,2  010000007800000000\n"
                "D FP64,2  30313233343536373839616263646566\n"
                "H FP16,1  1122\n"
                "F FP32,1,1  33445566");
    CHECK(copied.is_aligned);
    // Received into the block: nothing is copied that lies well, the rest moves down a little.
    for (std::uint64_t skew = 0; skew < 16; ++skew) {
        const auto in_place = decode_in_place(json, binary, open_signature(), {}, skew);
        CHECK_EQUAL(in_place.message, copied.message);
        CHECK(in_place.is_aligned);
        CHECK(in_place.used <= in_place.planned && in_place.planned <= decode_bound(json.size()));
    }
}

TEST_CASE(binary_tensors_of_another_size_are_left) {
    const auto outcome = [](const std::string& members, const std::string& binary) {
        return outcome_of(input(R"("name":"A",)" + members), {}, binary);
    };
    const std::string two = R"("shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4})";
    CHECK_EQUAL(outcome(two, "abcd"), accepted);
    CHECK_EQUAL(outcome(two, "abc"), count);
    CHECK_EQUAL(outcome(two, "abcde"), count);
    CHECK_EQUAL(outcome(two, ""), count);
    CHECK_EQUAL(
        outcome(R"("shape":[3],"datatype":"INT16","parameters":{"binary_data_size":4})", "abcd"),
        count);
    CHECK_EQUAL(
        outcome(R"("shape":[0],"datatype":"INT16","parameters":{"binary_data_size":0})", ""),
        accepted);
    CHECK_EQUAL(outcome(R"("shape":[2],"datatype":"INT16","data":[1,2])", "abcd"), count);
    const std::string text =
        R"("shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6})";
    CHECK_EQUAL(outcome(text, little_endian(2) + "ab"), accepted);
    CHECK_EQUAL(outcome(text, little_endian(1) + "ab"), count);
    CHECK_EQUAL(outcome(text, little_endian(3) + "ab"), count);
    CHECK_EQUAL(outcome(text, little_endian(0xffffffff) + "ab"), count);
}

TEST_CASE(a_shape_cannot_ask_for_more_room_than_the_body_justifies) {
    for (const std::string shape_text :
         {"[1000000000000]", "[4611686018427387904,4]", "[9223372036854775807,9223372036854775807]",
          "[65536,65536,65536,65536]"}) {
        for (const std::string datatype_text : {"FP64", "BYTES", "UINT8"}) {
            const auto outcome =
                outcome_of(input(R"("name":"A","shape":)" + shape_text + R"(,"datatype":")" +
                                 datatype_text + R"(","data":[1])"));
            CHECK(outcome == count || outcome == shape);
        }
    }
}

TEST_CASE(larger_json_than_the_option_allows_is_left) {
    const auto json = input(R"("name":"A","shape":[3],"datatype":"FP64","data":[1,2,3])");
    CHECK_EQUAL(outcome_of(json, {.max_json_bytes = json.size()}), accepted);
    CHECK_EQUAL(outcome_of(json, {.max_json_bytes = json.size() - 1}), limit);
    std::string many = "[0";
    for (int index = 1; index < 200; ++index) many += ",0";
    const auto wide = input(R"("name":"A","shape":[200],"datatype":"FP64","data":)" + many + "]");
    CHECK_EQUAL(outcome_of(wide, {.max_json_bytes = 1600}), accepted);
    CHECK_EQUAL(outcome_of(wide, {.max_json_bytes = 1599}), limit);
}

TEST_CASE(more_than_the_tables_hold_is_left) {
    const auto many_inputs = [](std::size_t count) {
        std::string json = "{\"inputs\":[";
        for (std::size_t index = 0; index < count; ++index) {
            json += index > 0 ? "," : "";
            json += R"({"name":"I)" + std::to_string(index) +
                    R"(","shape":[1],"datatype":"INT8","data":[1]})";
        }
        return json + "]}";
    };
    CHECK_EQUAL(outcome_of(many_inputs(InferDecoder::kMaxInputs)), accepted);
    CHECK_EQUAL(outcome_of(many_inputs(InferDecoder::kMaxInputs + 1)), limit);
    std::string parameters = "\"p\":0";
    const std::string rest =
        R"(},"inputs":[{"name":"A","shape":[1],"datatype":"INT8","data":[1]}]})";
    for (std::size_t index = 1; index < InferDecoder::kMaxParameters; ++index) {
        parameters += ",\"p" + std::to_string(index) + "\":0";
    }
    CHECK_EQUAL(outcome_of("{\"parameters\":{" + parameters + rest), accepted);
    CHECK_EQUAL(outcome_of("{\"parameters\":{" + parameters + ",\"q\":0" + rest), limit);
}

TEST_CASE(a_block_without_room_is_told_and_nothing_is_written_past_it) {
    const auto json =
        input(R"("name":"A","shape":[4],"datatype":"BYTES","data":["a","b","c","\u00e4"])");
    InferDecoder decoder;
    CHECK_EQUAL(decoder.plan(json, 0, open_signature(), {}), accepted);
    MessageBuilder builder;
    for (auto bytes = std::uint64_t{sizeof(MessageHeader)}; bytes < decoder.block_bytes(false);
         ++bytes) {
        TestBlock block(bytes);
        builder.begin(block.data(), bytes, bytes, MessageKind::request);
        const auto outcome = decoder.fill(builder, {});
        CHECK(outcome == room || outcome == accepted);
    }
    MessageBuilder unused;
    CHECK_EQUAL(InferDecoder().fill(unused, {}), structure);  // nothing is planned
}

TEST_CASE(tensors_in_regions_are_referred_to) {
    const DecodeOptions options{.regions = &some_regions()};
    const std::string json =
        R"({"inputs":[{"name":"A","shape":[2],"datatype":"FP32","parameters":)"
        R"({"shared_memory_region":"r","shared_memory_offset":8,"shared_memory_byte_size":8}},)"
        R"({"name":"B","shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}},)"
        R"({"name":"C","shape":[1],"datatype":"INT64","parameters":)"
        R"({"shared_memory_byte_size":8,"shared_memory_region":"s"}}],)"
        R"("outputs":[{"name":"X","parameters":{"shared_memory_region":"s",)"
        R"("shared_memory_byte_size":1099511627776,"binary_data":false}},{"name":"Y"}]})";
    const std::string message =
        "id= parameters= flags=0\nA FP32,2  @3+72:8\nB UINT8,4  61626364\nC INT64,1  @9+0:8"
        "\n-> X 2 @9+0:1099511627776\n-> Y 0";
    const auto copied = decode(json, "abcd", open_signature(), options);
    CHECK_EQUAL(copied.outcome, accepted);
    CHECK_EQUAL(copied.message, message);
    CHECK(copied.used <= copied.planned);
    const auto in_place = decode_in_place(json, "abcd", open_signature(), options, 3);
    CHECK_EQUAL(in_place.outcome, accepted);
    CHECK_EQUAL(in_place.message, message);
}

TEST_CASE(claims_without_a_place_are_left_to_python) {
    const DecodeOptions options{.regions = &some_regions()};
    const auto asked = [&](const std::string& parameters, const std::string& rest = "") {
        return outcome_of(input(R"("name":"A","shape":[2],"datatype":"FP32","parameters":{)" +
                                parameters + "}" + rest),
                          options);
    };
    const std::string region = R"("shared_memory_region":"r")";
    const std::string size = R"(,"shared_memory_byte_size":8)";
    CHECK_EQUAL(asked(region + size), accepted);
    CHECK_EQUAL(asked(R"("shared_memory_region":"t")" + size), feature);
    CHECK_EQUAL(asked(R"("shared_memory_region":"\u0072")" + size), feature);
    CHECK_EQUAL(asked(R"("shared_memory_region":1)" + size), structure);
    CHECK_EQUAL(asked(region), feature);  // no bytes
    CHECK_EQUAL(asked(region + R"(,"shared_memory_byte_size":"8")"), structure);
    CHECK_EQUAL(asked(region + R"(,"shared_memory_byte_size":-8)"), structure);
    CHECK_EQUAL(asked(region + R"(,"shared_memory_byte_size":4)"), count);
    CHECK_EQUAL(asked(region + size + R"(,"shared_memory_offset":33)"), feature);
    CHECK_EQUAL(asked(region + size + R"(,"shared_memory_offset":40)"), feature);
    CHECK_EQUAL(asked(region + size + size), structure);
    CHECK_EQUAL(asked(region + size + R"(,"shared_memory_key":"k")"), feature);
    CHECK_EQUAL(asked(R"("shared_memory_offset":0)", R"(,"data":[1,2])"), feature);
    CHECK_EQUAL(asked(region + size, R"(,"data":[1,2])"), structure);
    CHECK_EQUAL(asked(region + size + R"(,"binary_data_size":8)"), structure);
    const auto strings =
        input(R"("name":"A","shape":[2],"datatype":"BYTES","parameters":{)" + region + size + "}");
    CHECK_EQUAL(outcome_of(strings, options), feature);
    const auto output = [&](const std::string& parameters) {
        return outcome_of(R"({"inputs":[{"name":"A","shape":[1],"datatype":"INT8","data":[1]}],)"
                          R"("outputs":[{"name":"X","parameters":{)" +
                              parameters + "}}]}",
                          options);
    };
    CHECK_EQUAL(output(region + size), accepted);
    CHECK_EQUAL(output(region), feature);
    CHECK_EQUAL(output(region + size + R"(,"binary_data":true)"), feature);
    CHECK_EQUAL(output(region + size + R"(,"classification":1)"), feature);
    CHECK_EQUAL(output(R"("shared_memory_byte_size":8)"), feature);
}

int main() { return check::run_all(); }
