#include "mpserve/proto_encode.hpp"

#include <bit>
#include <charconv>
#include <cstring>
#include <span>

#include "mpserve/json_scanner.hpp"
#include "mpserve/proto_wire.hpp"

namespace mpserve {

namespace {

// Field numbers of ModelInferResponse.
enum ResponseField : std::uint32_t {
    kModelName = 1,
    kModelVersion,
    kId,
    kParameters,
    kOutputs,
    kRawOutputs
};
// Field numbers of InferOutputTensor; parameters have the number of the response's.
enum TensorField : std::uint32_t { kName = 1, kDatatype, kShape };
// Field numbers of a map entry and of InferParameter.
enum EntryField : std::uint32_t { kKey = 1, kValue };
enum StreamField : std::uint32_t { kInferResponse = 2 };
constexpr std::string_view kFinalParameter = "triton_final_response";
enum ParameterField : std::uint32_t { kBool = 1, kInt64, kString };

// Proto3 leaves out what is empty.
std::size_t text_bytes(std::string_view text) noexcept {
    return text.empty() ? 0 : delimited_bytes(text.size());
}

char* put_text(char* at, std::uint32_t field, std::string_view text) noexcept {
    return text.empty() ? at : put_delimited(at, field, text);
}

// What of an output is sent: of one in a client's region, an empty entry.
std::string_view sent_data(const TensorView& tensor) noexcept {
    if (tensor.region != 0) return {};
    return {reinterpret_cast<const char*>(tensor.data), tensor.data_bytes};
}

std::size_t shape_bytes(std::span<const std::int64_t> shape) noexcept {
    std::size_t bytes = 0;
    for (const auto dimension : shape) bytes += varint_bytes(static_cast<std::uint64_t>(dimension));
    return bytes;
}

}  // namespace

std::size_t ProtoInferEncoder::Parameter::value_bytes() const noexcept {
    return field == kString ? delimited_bytes(text.size()) : 1 + varint_bytes(number);
}

std::size_t ProtoInferEncoder::Parameter::entry_bytes() const noexcept {
    return text_bytes(key) + delimited_bytes(value_bytes());
}

char* ProtoInferEncoder::Parameter::write(char* at) const noexcept {
    at = put_delimited_head(at, kParameters, entry_bytes());
    at = put_text(at, kKey, key);
    at = put_delimited_head(at, kValue, value_bytes());
    if (field == kString) return put_delimited(at, field, text);
    *at++ = static_cast<char>(field << 3);
    return put_varint(at, number);
}

bool ProtoInferEncoder::plan(const MessageView& response, const ProtoEncodeContext& context) {
    response_ = &response;
    context_ = context;
    parameters_.clear();
    parameters_end_.clear();
    if (!add_parameters(response.text(response.header().parameters))) return false;
    if (context.in_stream) {
        for (const auto& parameter : parameters_) {
            if (parameter.key == kFinalParameter) return false;
        }
        parameters_.push_back({.key = kFinalParameter, .text = {}, .number = 1, .field = kBool});
        parameters_end_.back() = parameters_.size();
    }
    bytes_ =
        text_bytes(context.model_name) + text_bytes(context.model_version) + text_bytes(context.id);
    for (const auto& parameter : parameters_) bytes_ += delimited_bytes(parameter.entry_bytes());
    for (std::uint32_t index = 0; index < response.tensor_count(); ++index) {
        const auto tensor = response.tensor(index);
        if (!add_parameters(tensor.parameters)) return false;
        bytes_ += delimited_bytes(output_bytes(index)) + delimited_bytes(sent_data(tensor).size());
    }
    return true;
}

// Members of a flat JSON object, as the worker wrote it.
bool ProtoInferEncoder::add_parameters(std::string_view object) {
    if (!object.empty()) {
        JsonScanner scanner(object);
        if (!scanner.take('{')) return false;
        bool more = scanner.peek() != '}';
        while (more) {
            JsonString key;
            if (!scanner.read_string(key) || key.escaped || !scanner.take(':')) return false;
            Parameter parameter{.key = key.raw, .text = {}};
            JsonString text;
            bool truth = false;
            if (scanner.peek() == '"') {
                if (!scanner.read_string(text) || text.escaped) return false;
                parameter.field = kString;
                parameter.text = text.raw;
            } else if (scanner.read_bool(truth)) {
                parameter.field = kBool;
                parameter.number = truth ? 1 : 0;
            } else {
                const char* const start = scanner.at();
                if (scanner.take_scalar() != JsonScalar::integer) return false;
                std::int64_t number = 0;
                const auto read = std::from_chars(start, scanner.at(), number);
                if (read.ec != std::errc{} || read.ptr != scanner.at()) return false;
                parameter.field = kInt64;
                parameter.number = static_cast<std::uint64_t>(number);
            }
            for (std::size_t index = parameters_end_.empty() ? 0 : parameters_end_.back();
                 index < parameters_.size(); ++index) {
                if (parameters_[index].key == key.raw) return false;
            }
            parameters_.push_back(parameter);
            more = scanner.take(',');
        }
        if (!scanner.take('}') || !scanner.at_end()) return false;
    }
    parameters_end_.push_back(parameters_.size());
    return true;
}

std::size_t ProtoInferEncoder::output_bytes(std::uint32_t index) const noexcept {
    const auto tensor = response_->tensor(index);
    auto bytes = text_bytes(tensor.name) + delimited_bytes(datatype_name(tensor.datatype).size());
    if (!tensor.shape.empty()) bytes += delimited_bytes(shape_bytes(tensor.shape));
    for (auto at = parameters_end_[index]; at < parameters_end_[index + 1]; ++at) {
        bytes += delimited_bytes(parameters_[at].entry_bytes());
    }
    return bytes;
}

char* ProtoInferEncoder::write_output(char* at, std::uint32_t index) const noexcept {
    const auto tensor = response_->tensor(index);
    at = put_delimited_head(at, kOutputs, output_bytes(index));
    at = put_text(at, kName, tensor.name);
    at = put_delimited(at, kDatatype, datatype_name(tensor.datatype));
    if (!tensor.shape.empty()) {
        at = put_delimited_head(at, kShape, shape_bytes(tensor.shape));
        for (const auto dimension : tensor.shape) {
            at = put_varint(at, static_cast<std::uint64_t>(dimension));
        }
    }
    return write_parameters(at, parameters_end_[index], parameters_end_[index + 1]);
}

char* ProtoInferEncoder::write_parameters(char* at, std::size_t first,
                                          std::size_t behind) const noexcept {
    for (auto index = first; index < behind; ++index) at = parameters_[index].write(at);
    return at;
}

std::size_t ProtoInferEncoder::wrapper_bytes() const noexcept {
    return context_.in_stream ? delimited_bytes(bytes_) - bytes_ : 0;
}

// Everything in front of the raw outputs.
char* ProtoInferEncoder::write_before_outputs(char* at) const noexcept {
    if (context_.in_stream) at = put_delimited_head(at, kInferResponse, bytes_);
    at = put_text(at, kModelName, context_.model_name);
    at = put_text(at, kModelVersion, context_.model_version);
    at = put_text(at, kId, context_.id);
    at = write_parameters(at, 0, parameters_end_[0]);
    for (std::uint32_t index = 0; index < response_->tensor_count(); ++index) {
        at = write_output(at, index);
    }
    return at;
}

void ProtoInferEncoder::write(char* out) const noexcept {
    auto* at = write_before_outputs(out);
    for (std::uint32_t index = 0; index < response_->tensor_count(); ++index) {
        at = put_delimited(at, kRawOutputs, sent_data(response_->tensor(index)));
    }
}

bool ProtoInferEncoder::has_output_of(std::uint64_t bytes) const noexcept {
    for (std::uint32_t index = 0; index < response_->tensor_count(); ++index) {
        if (sent_data(response_->tensor(index)).size() >= bytes) return true;
    }
    return false;
}

void ProtoInferEncoder::write_lending(ByteBuffer& out, std::vector<ResponseSegment>& segments,
                                      std::uint64_t lend_from) const {
    auto from = out.size();
    // Room for all but the data that is lent; what is copied below fits, too.
    std::size_t lent = 0;
    for (std::uint32_t index = 0; index < response_->tensor_count(); ++index) {
        const auto bytes = sent_data(response_->tensor(index)).size();
        if (bytes >= lend_from) lent += bytes;
    }
    auto* at = write_before_outputs(out.grow(bytes() - lent));
    for (std::uint32_t index = 0; index < response_->tensor_count(); ++index) {
        const auto data = sent_data(response_->tensor(index));
        if (data.size() < lend_from) {
            at = put_delimited(at, kRawOutputs, data);
            continue;
        }
        at = put_delimited_head(at, kRawOutputs, data.size());
        out.commit_to(at);
        segments.push_back({nullptr, from, out.size() - from});
        segments.push_back({reinterpret_cast<const std::byte*>(data.data()), 0, data.size()});
        from = out.size();
    }
    out.commit_to(at);
    if (out.size() != from) segments.push_back({nullptr, from, out.size() - from});
}

}  // namespace mpserve
