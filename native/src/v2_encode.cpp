#include "mpserve/v2_encode.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "mpserve/json_number.hpp"
#include "mpserve/json_tensor.hpp"

namespace mpserve {

namespace {

// The parts of a head that do not change; the numbers stand in between.
constexpr std::string_view kJsonHead =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
constexpr std::string_view kBinaryHead =
    "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    "Inference-Header-Content-Length: ";
constexpr std::string_view kLengthField = "\r\nContent-Length: ";
constexpr std::string_view kKeepAliveField = "\r\nConnection: keep-alive";
constexpr std::string_view kCloseField = "\r\nConnection: close";
constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::size_t kMaxHeadBytes = 256;
static_assert(kBinaryHead.size() + kLengthField.size() + kKeepAliveField.size() + kHeadEnd.size() +
                  2 * kMaxIntegerChars <=
              kMaxHeadBytes);

char* put(char* at, std::string_view text) noexcept {
    return std::ranges::copy(text, at).out;  // unlike memcpy, also of no text at all
}

// All of the head but its further fields and its end, for a body of `json_bytes` JSON and
// `binary_bytes` behind it.
char* write_head(char* at, const EncodeContext& context, std::uint64_t json_bytes,
                 std::uint64_t binary_bytes) noexcept {
    if (binary_bytes == 0) {
        at = put(at, kJsonHead);
    } else {
        at = write_integer(put(at, kBinaryHead), json_bytes);
        at = put(at, kLengthField);
    }
    at = write_integer(at, json_bytes + binary_bytes);
    if (!context.keep_alive) {
        at = put(at, kCloseField);
    } else if (context.minor_version == 0) {
        at = put(at, kKeepAliveField);
    }
    return at;
}

bool is_binary_output(const EncodeContext& context, std::string_view name, std::uint32_t index) {
    if (context.request == nullptr) return context.binary_by_default;
    const auto& request = *context.request;
    const auto count = request.output_count();
    for (std::uint32_t step = 0; step < count; ++step) {
        // The order of the request is mostly that of the response.
        const auto output = request.output((index + step) % count);
        if (output.name == name) return (output.flags & kOutputBinary) != 0;
    }
    return (request.header().flags & kBinaryOutputsByDefault) != 0;
}

EncodeOutcome outcome_of(TensorTextOutcome outcome) noexcept {
    switch (outcome) {
        case TensorTextOutcome::written: return EncodeOutcome::encoded;
        case TensorTextOutcome::half_float: return EncodeOutcome::half_float;
        case TensorTextOutcome::not_utf8: return EncodeOutcome::not_utf8;
        case TensorTextOutcome::malformed: return EncodeOutcome::malformed;
    }
    return EncodeOutcome::malformed;
}

void write_integer_to(ByteBuffer& out, std::int64_t value) {
    out.commit_to(write_integer(out.grow(kMaxIntegerChars + 1), value));
}

// Writes the JSON object; what is binary goes only into its count of bytes.
class JsonWriter {
public:
    JsonWriter(const MessageView& response, const EncodeContext& context, bool allow_binary,
               ByteBuffer& out)
        : response_(response), context_(context), allow_binary_(allow_binary), out_(out) {}

    EncodeResult run() {
        out_.push_back('{');
        if (context_.style == ResponseStyle::triton) {
            if (has_id()) write_member("\"id\":", context_.id, ",");
            write_member("\"model_name\":", context_.model_name, ",");
            write_member("\"model_version\":", context_.model_version, "");
            write_parameters(response_.text(response_.header().parameters), ",\"parameters\":");
        } else {
            write_member("\"model_name\":", context_.model_name, "");
            if (!context_.model_version.empty()) {
                write_member(",\"model_version\":", context_.model_version, "");
            }
            if (has_id()) write_member(",\"id\":", context_.id, "");
            const auto parameters = response_.text(response_.header().parameters);
            write_parameters(parameters.empty() ? "{}" : parameters, ",\"parameters\":");
        }
        out_.append(",\"outputs\":[");
        for (std::uint32_t index = 0; index < response_.tensor_count(); ++index) {
            if (index > 0) out_.push_back(',');
            const auto outcome = write_output(index);
            if (outcome != EncodeOutcome::encoded) return {outcome, index};
        }
        out_.append("]}");
        return {EncodeOutcome::encoded, 0};
    }

    std::uint64_t binary_bytes() const noexcept { return binary_bytes_; }

private:
    bool has_id() const noexcept { return context_.has_id && !context_.id.empty(); }

    void write_member(std::string_view key, std::string_view text, std::string_view behind) {
        out_.append(key);
        write_json_string(text, out_);
        out_.append(behind);
    }

    void write_parameters(std::string_view object, std::string_view key) {
        if (object.empty()) return;
        out_.append(key);
        out_.append(object);
    }

    EncodeOutcome write_output(std::uint32_t index) {
        const auto tensor = response_.tensor(index);
        write_member("{\"name\":", tensor.name, "");
        if (context_.style == ResponseStyle::triton) {
            write_datatype(tensor.datatype);
            write_shape(tensor.shape);
        } else {
            write_shape(tensor.shape);
            write_datatype(tensor.datatype);
        }
        auto outcome = EncodeOutcome::encoded;
        if (tensor.region != 0) {
            write_parameters(tensor.parameters, ",\"parameters\":");  // the client has the data
        } else if (allow_binary_ && is_binary_output(context_, tensor.name, index)) {
            write_binary_size(tensor);
        } else {
            write_parameters(tensor.parameters, ",\"parameters\":");
            out_.append(",\"data\":");
            const auto& form =
                context_.style == ResponseStyle::triton ? kTritonFloats : kMlserverFloats;
            outcome = outcome_of(write_json_array(tensor, form, out_));
        }
        out_.push_back('}');
        return outcome;
    }

    void write_datatype(Datatype datatype) {
        out_.append(",\"datatype\":\"");
        out_.append(datatype_name(datatype));
        out_.push_back('"');
    }

    void write_shape(std::span<const std::int64_t> shape) {
        out_.append(",\"shape\":[");
        for (std::size_t index = 0; index < shape.size(); ++index) {
            if (index > 0) out_.push_back(',');
            write_integer_to(out_, shape[index]);
        }
        out_.push_back(']');
    }

    // `binary_data_size` joins the output's own parameters.
    void write_binary_size(const TensorView& tensor) {
        out_.append(",\"parameters\":{");
        auto members = tensor.parameters;
        if (members.size() > 2) {
            members.remove_prefix(1);
            members.remove_suffix(1);
            out_.append(members);
            out_.push_back(',');
        }
        out_.append("\"binary_data_size\":");
        write_integer_to(out_, static_cast<std::int64_t>(tensor.data_bytes));
        out_.push_back('}');
        binary_bytes_ += tensor.data_bytes;
    }

    const MessageView& response_;
    const EncodeContext& context_;
    const bool allow_binary_;
    ByteBuffer& out_;
    std::uint64_t binary_bytes_ = 0;
};

// Adds the binary tensors behind the JSON: small ones into the buffer, large ones by reference.
void append_blobs(const MessageView& response, const EncodeContext& context, std::size_t start,
                  ByteBuffer& out, std::vector<ResponseSegment>& segments) {
    std::size_t segment_start = start;
    const auto close_segment = [&] {
        if (out.size() == segment_start) return;
        segments.push_back({nullptr, segment_start, out.size() - segment_start});
        segment_start = out.size();
    };
    for (std::uint32_t index = 0; index < response.tensor_count(); ++index) {
        const auto tensor = response.tensor(index);
        if (tensor.region != 0 || tensor.data_bytes == 0 ||
            !is_binary_output(context, tensor.name, index)) {
            continue;
        }
        if (tensor.data_bytes < kCopyBelow) {
            out.append({reinterpret_cast<const char*>(tensor.data), tensor.data_bytes});
        } else {
            close_segment();
            segments.push_back({tensor.data, 0, tensor.data_bytes});
        }
    }
    close_segment();
}

// Binary bytes and a guess of the JSON's size, only to make the head as long as it will be.
struct BodyEstimate {
    std::uint64_t json_bytes;
    std::uint64_t binary_bytes;
};

BodyEstimate estimate_body(const MessageView& response, const EncodeContext& context) {
    BodyEstimate estimate{64 + context.model_name.size() + context.model_version.size() +
                              context.id.size() + response.header().parameters.length,
                          0};
    for (std::uint32_t index = 0; index < response.tensor_count(); ++index) {
        const auto tensor = response.tensor(index);
        estimate.json_bytes += 64 + tensor.name.size() + tensor.parameters.size();
        if (tensor.region != 0) continue;
        if (is_binary_output(context, tensor.name, index)) {
            estimate.binary_bytes += tensor.data_bytes;
        } else {
            estimate.json_bytes += 2 * tensor.data_bytes;
        }
    }
    return estimate;
}

}  // namespace

EncodeResult encode_infer_response(const MessageView& response, const EncodeContext& context,
                                   ByteBuffer& out, std::vector<ResponseSegment>& segments) {
    const auto start = out.size();
    const auto estimate = estimate_body(response, context);
    const auto room = kMaxHeadBytes + context.fields.size();
    out.reserve(start + room + static_cast<std::size_t>(estimate.json_bytes));
    // The head goes in front of a body whose size it has to tell: room is left for the head of the
    // estimated body, and only when its numbers have another width the body moves, by a byte or
    // two.
    char head[kMaxHeadBytes];
    const auto end_bytes = context.fields.size() + kHeadEnd.size();
    const auto guessed_bytes =
        static_cast<std::size_t>(
            write_head(head, context, estimate.json_bytes, estimate.binary_bytes) - head) +
        end_bytes;
    out.grow(room);
    out.commit(guessed_bytes);

    JsonWriter writer(response, context, true, out);
    const auto result = writer.run();
    if (result.outcome != EncodeOutcome::encoded) {
        out.truncate(start);
        return result;
    }
    const auto json_bytes = out.size() - start - guessed_bytes;
    const auto fixed_bytes = static_cast<std::size_t>(
        write_head(head, context, json_bytes, writer.binary_bytes()) - head);
    const auto head_bytes = fixed_bytes + end_bytes;
    if (head_bytes != guessed_bytes) {
        out.grow(room);
        char* const place = out.data() + start;
        std::memmove(place + head_bytes, place + guessed_bytes, json_bytes);
        out.commit_to(place + head_bytes + json_bytes);
    }
    char* const place = out.data() + start;
    std::memcpy(place, head, fixed_bytes);
    put(put(place + fixed_bytes, context.fields), kHeadEnd);
    append_blobs(response, context, start, out, segments);
    return result;
}

EncodeResult encode_infer_json(const MessageView& response, const EncodeContext& context,
                               ByteBuffer& out) {
    const auto start = out.size();
    const auto result = JsonWriter(response, context, false, out).run();
    if (result.outcome != EncodeOutcome::encoded) out.truncate(start);
    return result;
}

}  // namespace mpserve
