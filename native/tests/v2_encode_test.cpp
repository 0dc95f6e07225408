#include "mpserve/v2_encode.hpp"

#include <cstring>
#include <string>

#include "check.hpp"
#include "codec_fixtures.hpp"

using namespace mpserve;
using namespace mpserve::fixtures;

namespace {

struct Output {
    std::string name;
    Datatype datatype;
    std::vector<std::int64_t> shape;
    std::string data;
    std::string parameters;
};

template <typename Element>
std::string bytes_of(std::initializer_list<Element> elements) {
    return {reinterpret_cast<const char*>(elements.begin()), elements.size() * sizeof(Element)};
}

// A message in a block of its own.
class Message {
public:
    explicit Message(MessageKind kind) : block_(1 << 20) {
        builder_.begin(block_.data(), block_.bytes(), block_.bytes(), kind);
    }
    Message& parameters(std::string_view text) {
        CHECK(builder_.append_text(text, builder_.header().parameters));
        return *this;
    }
    Message& flags(std::uint32_t flags) {
        builder_.header().flags = flags;
        return *this;
    }
    Message& tensor(const Output& output) {
        auto* place =
            builder_.append_tensor(output.name, output.datatype, output.shape, output.data.size());
        CHECK(place != nullptr);
        if (!output.data.empty()) std::memcpy(place, output.data.data(), output.data.size());
        if (!output.parameters.empty()) {
            Text text{};
            CHECK(builder_.append_text(output.parameters, text));
            builder_.set_tensor_parameters(text);
        }
        return *this;
    }
    Message& requested(std::string_view name, std::uint32_t flags) {
        OutputRecord record{};
        record.flags = flags;
        CHECK(builder_.append_text(name, record.name) && builder_.append_output(record));
        return *this;
    }
    MessageView view() {
        CHECK(builder_.finish());
        return *MessageView::open(block_.data(), block_.bytes());
    }

private:
    TestBlock block_;
    MessageBuilder builder_;
};

Output floats(std::string name, std::string parameters = "") {
    return {
        std::move(name), Datatype::fp32, {1, 2}, bytes_of<float>({0.1f, 2}), std::move(parameters)};
}

struct Encoded {
    EncodeResult result{};
    std::string bytes;  // all segments
    std::size_t segments = 0;
    std::size_t borrowed = 0;

    std::string head() const { return bytes.substr(0, bytes.find("\r\n\r\n") + 4); }
    std::string body() const { return bytes.substr(bytes.find("\r\n\r\n") + 4); }
};

Encoded encode(const MessageView& response, const EncodeContext& context, ByteBuffer& out) {
    std::vector<ResponseSegment> segments;
    Encoded encoded;
    encoded.result = encode_infer_response(response, context, out, segments);
    encoded.segments = segments.size();
    for (const auto& segment : segments) {
        const char* data = segment.borrowed != nullptr
                               ? reinterpret_cast<const char*>(segment.borrowed)
                               : out.data() + segment.offset;
        encoded.borrowed += segment.borrowed != nullptr;
        encoded.bytes.append(data, segment.bytes);
    }
    return encoded;
}

Encoded encode(const MessageView& response, const EncodeContext& context) {
    ByteBuffer out;
    return encode(response, context, out);
}

constexpr EncodeContext kTriton{.style = ResponseStyle::triton,
                                .model_name = "simple",
                                .model_version = "3",
                                .id = {},
                                .has_id = false,
                                .keep_alive = true,
                                .minor_version = 1,
                                .fields = {},
                                .binary_by_default = false,
                                .request = nullptr};

EncodeContext mlserver() {
    auto context = kTriton;
    context.style = ResponseStyle::mlserver;
    return context;
}

}  // namespace

TEST_CASE(tritons_json_has_its_members_in_tritons_order) {
    Message message(MessageKind::response);
    const auto view = message.tensor(floats("X"))
                          .tensor({"Y", Datatype::boolean, {2}, bytes_of<char>({1, 0}), ""})
                          .view();
    const auto encoded = encode(view, kTriton);
    CHECK_EQUAL(encoded.body(),
                R"({"model_name":"simple","model_version":"3","outputs":[)"
                R"({"name":"X","datatype":"FP32","shape":[1,2],"data":[0.10000000149011612,2.0]},)"
                R"({"name":"Y","datatype":"BOOL","shape":[2],"data":[true,false]}]})");
    CHECK_EQUAL(encoded.head(),
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
                    std::to_string(encoded.body().size()) + "\r\n\r\n");
    CHECK_EQUAL(encoded.segments, 1u);
}

TEST_CASE(ids_and_parameters_are_told_when_there_are_any) {
    Message message(MessageKind::response);
    const auto view = message.parameters(R"({"k":"v"})").tensor(floats("X", R"({"a":1})")).view();
    auto context = kTriton;
    context.id = "a\"b";
    context.has_id = true;
    CHECK_EQUAL(encode(view, context).body(),
                R"({"id":"a\"b","model_name":"simple","model_version":"3","parameters":{"k":"v"},)"
                R"("outputs":[{"name":"X","datatype":"FP32","shape":[1,2],"parameters":{"a":1},)"
                R"("data":[0.10000000149011612,2.0]}]})");
    context.id = "";
    CHECK(encode(view, context).body().starts_with(R"({"model_name")"));
}

TEST_CASE(mlservers_json_has_its_members_in_mlservers_order) {
    Message message(MessageKind::response);
    const auto view = message.tensor(floats("X", R"({"content_type":"np"})")).view();
    auto context = mlserver();
    context.model_version = "";
    context.id = "made-up";
    context.has_id = true;
    CHECK_EQUAL(encode(view, context).body(),
                R"({"model_name":"simple","id":"made-up","parameters":{},"outputs":[{"name":"X",)"
                R"("shape":[1,2],"datatype":"FP32","parameters":{"content_type":"np"},)"
                R"("data":[0.10000000149011612,2.0]}]})");
    context.model_version = "v1";
    CHECK(encode(view, context)
              .body()
              .starts_with(R"({"model_name":"simple","model_version":"v1","id":"made-up")"));
}

TEST_CASE(the_connection_is_told_where_the_version_needs_it) {
    Message message(MessageKind::response);
    const auto view = message.view();
    auto context = kTriton;
    CHECK(encode(view, context).head().find("Connection") == std::string::npos);
    context.minor_version = 0;
    CHECK(encode(view, context).head().ends_with("\r\nConnection: keep-alive\r\n\r\n"));
    context.keep_alive = false;
    CHECK(encode(view, context).head().ends_with("\r\nConnection: close\r\n\r\n"));
}

TEST_CASE(outputs_are_binary_as_the_request_says) {
    Message response(MessageKind::response);
    const auto view = response.tensor(floats("X", R"({"a":1})")).tensor(floats("Y")).view();
    const auto is_binary = [&view](std::uint32_t default_flag, std::uint32_t flags_of_y) {
        Message message(MessageKind::request);
        message.flags(default_flag);
        if (flags_of_y != UINT32_MAX) message.requested("Y", flags_of_y);
        const auto request = message.view();
        auto context = kTriton;
        context.request = &request;
        const auto body = encode(view, context).body();
        const auto binary_x = body.find(R"("parameters":{"a":1,"binary_data_size":8})");
        const auto binary_y = body.find(R"("parameters":{"binary_data_size":8})");
        return (binary_x != std::string::npos ? 1 : 0) + (binary_y != std::string::npos ? 2 : 0);
    };
    CHECK_EQUAL(is_binary(0, UINT32_MAX), 0);
    CHECK_EQUAL(is_binary(kBinaryOutputsByDefault, UINT32_MAX), 3);
    CHECK_EQUAL(is_binary(0, kOutputBinarySet | kOutputBinary), 2);
    CHECK_EQUAL(is_binary(kBinaryOutputsByDefault, kOutputBinarySet), 1);
    CHECK_EQUAL(is_binary(kBinaryOutputsByDefault, 0), 1);  // listed: the default is not for it
}

TEST_CASE(binary_outputs_follow_the_json_in_their_order) {
    Message response(MessageKind::response);
    const std::string large(kCopyBelow, 'L');
    const auto view =
        response.tensor({"S", Datatype::uint8, {3}, "abc", ""})
            .tensor({"L", Datatype::uint8, {static_cast<std::int64_t>(large.size())}, large, ""})
            .tensor({"E", Datatype::uint8, {0}, "", ""})
            .tensor({"T", Datatype::fp16, {1}, "de", ""})
            .view();
    auto context = kTriton;
    context.binary_by_default = true;
    ByteBuffer out;
    out.append("an answer before");
    const auto encoded = encode(view, context, out);
    CHECK_EQUAL(encoded.segments, 3u);
    CHECK_EQUAL(encoded.borrowed, 1u);
    const auto body = encoded.body();
    const auto json_bytes = body.size() - large.size() - 5;
    CHECK(body.substr(json_bytes - 2) == "]}abc" + large + "de");
    CHECK_EQUAL(encoded.head(),
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                "Inference-Header-Content-Length: " +
                    std::to_string(json_bytes) +
                    "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
    CHECK(out.view().starts_with("an answer before"));
}

TEST_CASE(an_empty_binary_output_alone_is_plain_json) {
    Message response(MessageKind::response);
    const auto view = response.tensor({"E", Datatype::fp32, {0}, "", ""}).view();
    auto context = kTriton;
    context.binary_by_default = true;
    const auto encoded = encode(view, context);
    CHECK(encoded.head().find("application/json") != std::string::npos);
    CHECK(encoded.body().ends_with(R"("parameters":{"binary_data_size":0}}]})"));
}

TEST_CASE(content_length_is_right_for_bodies_of_all_widths) {
    ByteBuffer out;
    for (std::int64_t elements = 0; elements < 4000; elements = elements * 5 / 4 + 1) {
        Message response(MessageKind::response);
        const std::string zeros(static_cast<std::size_t>(elements) * 8, '\0');
        const auto view = response.tensor({"X", Datatype::fp64, {elements}, zeros, ""}).view();
        const auto from = out.size();
        const auto encoded = encode(view, kTriton, out);
        CHECK(encoded.head().find("Content-Length: " + std::to_string(encoded.body().size()) +
                                  "\r\n") != std::string::npos);
        CHECK_EQUAL(out.size(), from + encoded.bytes.size());
    }
}

TEST_CASE(what_json_cannot_carry_leaves_the_buffer_as_it_was) {
    const auto outcome = [](const Output& output, const EncodeContext& context) {
        Message response(MessageKind::response);
        const auto view = response.tensor(floats("X")).tensor(output).view();
        ByteBuffer out;
        out.append("before");
        const auto encoded = encode(view, context, out);
        CHECK_EQUAL(out.view(), "before");
        CHECK_EQUAL(encoded.segments, 0u);
        CHECK_EQUAL(encoded.result.output_index, 1u);
        ByteBuffer json;
        CHECK_EQUAL(encode_infer_json(view, context, json).outcome, encoded.result.outcome);
        CHECK(json.empty());
        return encoded.result.outcome;
    };
    using enum EncodeOutcome;
    CHECK_EQUAL(outcome({"H", Datatype::fp16, {1}, "ab", ""}, kTriton), half_float);
    CHECK_EQUAL(outcome({"H", Datatype::bf16, {1}, "ab", ""}, mlserver()), half_float);
    const std::string prefix("\x01\0\0\0", 4);
    CHECK_EQUAL(outcome({"S", Datatype::bytes, {1}, prefix + "\xff", ""}, kTriton), not_utf8);
    CHECK_EQUAL(outcome({"S", Datatype::bytes, {2}, prefix + "a", ""}, kTriton), malformed);
}

TEST_CASE(names_are_escaped_as_rapidjson_does_it) {
    Message response(MessageKind::response);
    const auto view =
        response.tensor({"a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa4", Datatype::int8, {0}, "", ""})
            .view();
    ByteBuffer out;
    CHECK_EQUAL(encode_infer_json(view, kTriton, out).outcome, EncodeOutcome::encoded);
    CHECK_EQUAL(out.view(),
                "{\"model_name\":\"simple\",\"model_version\":\"3\",\"outputs\":[{\"name\":"
                "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\x7f\xc3\xa4\",\"datatype\":\"INT8\","
                "\"shape\":[0],\"data\":[]}]}");
}

int main() { return check::run_all(); }
