#include "response_writer.hpp"

#include <algorithm>

#include "model_exception.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// Room for one text or table: its bytes, and the worst alignment before it.
constexpr std::uint64_t padded(std::uint64_t bytes, std::uint64_t alignment) noexcept {
    return bytes + alignment;
}

std::uint64_t record_bytes(const Tensor& tensor, const TensorReshape* reshape) noexcept {
    const auto rank = std::max(tensor.shape().size(), reshape != nullptr ? reshape->to.size() : 0);
    return tensor.name().size() + tensor.parameters().size() +
           padded(rank * sizeof(std::int64_t), alignof(std::int64_t)) +
           padded(sizeof(TensorRecord), kTensorAlignment);
}

}  // namespace

std::uint64_t ResponseWriter::measure(const InferenceRequest& request,
                                      const InferenceResponse& response) {
    const auto& sent = request.sent_response();
    if (sent.is_valid() && nb::inst_ptr<InferenceResponse>(sent) != &response) {
        throw ModelException(
            "Unable to send response. Non-decoupled model cannot send more than one response.");
    }
    request_ = &request;
    response_ = &response;
    outputs_.clear();
    const auto* error = response.error();
    std::uint64_t total = sizeof(MessageHeader) + response.parameters().size() +
                          response.headers().size() + padded(0, alignof(TensorRecord)) +
                          padded(0, alignof(OutputRecord));
    if (error != nullptr) return total + error->message.size();
    for (const nb::handle output : response.output_tensors()) {
        auto* tensor = nb::inst_ptr<Tensor>(output);
        if (!request.wants_output(tensor->name())) continue;
        const auto bytes = tensor->wire_bytes();
        const auto wanted = request.region_of(tensor->name());
        const auto* context = request.context();  // a request that a model made has none
        const auto* reshape =
            context != nullptr ? find_reshape(context->output_reshapes, tensor->name()) : nullptr;
        outputs_.push_back({tensor, bytes, wanted, reshape});
        total += record_bytes(*tensor, reshape);
        if (wanted.region == 0) {
            total += bytes;
        } else if (bytes > wanted.region_bytes) {
            throw ModelException("shared memory size specified with the request for output '" +
                                 std::string(tensor->name()) + "' (" +
                                 std::to_string(wanted.region_bytes) +
                                 " bytes) should be at least " + std::to_string(bytes) +
                                 " bytes to hold the results");
        }
    }
    return total;
}

bool ResponseWriter::write(std::byte* base, std::uint64_t capacity, std::uint32_t message_flags) {
    builder_.begin(base, capacity, capacity, MessageKind::response);
    auto& header = builder_.header();
    header.flags = message_flags;
    if (!builder_.append_text(response_->parameters(), header.parameters) ||
        !builder_.append_text(response_->headers(), header.headers)) {
        return false;
    }
    if (const auto* error = response_->error(); error != nullptr) {
        header.status = static_cast<std::uint32_t>(status_of(error->code));
        return builder_.append_text(error->message, header.error) && builder_.finish();
    }
    // All texts lie before the data: their offsets are 32 bits wide.
    parameters_.clear();
    for (const auto& output : outputs_) {
        Text parameters{};
        if (!builder_.append_text(output.tensor->parameters(), parameters)) return false;
        parameters_.push_back(parameters);
    }
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        if (!write_output(outputs_[index])) return false;
        builder_.set_tensor_parameters(parameters_[index]);
    }
    return builder_.finish();
}

bool ResponseWriter::write_output(const Chosen& output) {
    const auto& [tensor, bytes, wanted, reshape] = output;
    std::int64_t reshaped[kMaxRank];
    auto shape = tensor->shape();
    if (reshape != nullptr) shape = reshape->applied(shape, reshaped);
    if (wanted.region == 0) {
        auto* place = builder_.append_tensor(tensor->name(), tensor->datatype(), shape, bytes);
        return place != nullptr && tensor->write_wire(place, bytes);
    }
    if (!builder_.refer_region(tensor->name(), tensor->datatype(), shape, wanted.region,
                               wanted.region_offset, bytes)) {
        return false;
    }
    if (request_->lease()->is_cancelled()) return true;
    auto* place = request_->lease()->region_at(wanted.region, wanted.region_offset, bytes);
    return place != nullptr && tensor->stream_wire(place, bytes);
}

}  // namespace mpserve::bind
