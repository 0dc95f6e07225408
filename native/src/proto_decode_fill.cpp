// The scanned and checked message into a block.
#include <array>
#include <cstring>

#include "mpserve/proto_decode.hpp"

namespace mpserve {

std::uint64_t ProtoInferDecoder::block_bytes() const noexcept {
    auto bytes = block_bytes_in_place();
    for (std::uint32_t index = 0; index < input_count_; ++index)
        bytes += inputs_[index].data.size();
    return bytes;
}

std::uint64_t ProtoInferDecoder::block_bytes_in_place() const noexcept {
    constexpr std::uint64_t kPerInput =
        sizeof(TensorRecord) + kTensorAlignment + sizeof(std::int64_t);
    std::uint64_t bytes =
        sizeof(MessageHeader) + id_.size() + sequence_.text.size() + 2 * alignof(TensorRecord);
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        const auto& input = inputs_[index];
        bytes += kPerInput + input.name.size() + input.rank * sizeof(std::int64_t);
    }
    for (std::uint32_t index = 0; index < output_count_; ++index) {
        bytes += sizeof(OutputRecord) + outputs_[index].name.size();
    }
    return bytes;
}

DecodeOutcome ProtoInferDecoder::fill(MessageBuilder& builder) const noexcept {
    return fill_all(builder, nullptr);
}

DecodeOutcome ProtoInferDecoder::fill_in_place(MessageBuilder& builder) const noexcept {
    // Back to front, so that a tensor moves down at least as far as those behind it and never into
    // the one in front of it.
    std::array<std::uint64_t, kMaxInputs> shifts{};
    std::uint64_t shift = 0;
    for (std::uint32_t index = input_count_; index-- > 0;) {
        if (inputs_[index].in_region) continue;
        const auto item = item_bytes(inputs_[index].datatype);
        const auto place = reinterpret_cast<std::uintptr_t>(inputs_[index].data.data());
        if (item > 1) shift += (place - shift) % item;
        shifts[index] = shift;
    }
    const auto outcome = fill_all(builder, shifts.data());
    if (outcome != DecodeOutcome::accepted) return outcome;
    // Last of all: until here names were read from what this may overwrite.
    auto* const base = reinterpret_cast<std::byte*>(&builder.header());
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        if (inputs_[index].in_region) continue;
        const auto* data = reinterpret_cast<const std::byte*>(inputs_[index].data.data());
        const auto offset = static_cast<std::uint64_t>(data - base);
        if (offset < builder.used() + shifts[index]) return DecodeOutcome::room;
    }
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        const auto data = inputs_[index].data;
        if (shifts[index] == 0 || data.empty()) continue;
        auto* const from = base + (reinterpret_cast<const std::byte*>(data.data()) - base);
        std::memmove(from - shifts[index], from, data.size());
    }
    return outcome;
}

std::uint64_t ProtoInferDecoder::in_place_bound(std::uint32_t bytes_before_tensors) noexcept {
    // The least that stands for an output are 2 bytes, for an input with its datatype and data 10;
    // a dimension takes at least one.
    constexpr std::uint64_t kMostForAByte = sizeof(OutputRecord) / 2;
    static_assert(kMostForAByte * 10 >=
                  sizeof(TensorRecord) + kTensorAlignment + sizeof(std::int64_t));
    return sizeof(MessageHeader) + 2 * kTensorAlignment + kMostForAByte * bytes_before_tensors;
}

DecodeOutcome ProtoInferDecoder::fill_all(MessageBuilder& builder,
                                          const std::uint64_t* shifts) const noexcept {
    if (input_count_ == 0) return DecodeOutcome::structure;
    // Not in the form of this protocol, but what the Python codec tells a worker as well.
    builder.header().flags =
        kBinaryOutputsByDefault | sequence_.flags | (id_.empty() ? 0u : kHasId);
    builder.header().sequence_id = sequence_.number;
    if (!sequence_.text.empty()) {
        Text text{};
        if (!builder.append_text(sequence_.text, text)) return DecodeOutcome::room;
        builder.header().sequence_text = text;
    }
    if (!id_.empty()) {
        Text text{};
        if (!builder.append_text(id_, text)) return DecodeOutcome::room;
        builder.header().id = text;
    }
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        const auto& input = inputs_[index];
        if (input.in_region) {
            const auto& [id, offset, bytes] = input.region;
            if (!builder.refer_region(input.name, input.datatype, input.dimensions(), id, offset,
                                      bytes)) {
                return DecodeOutcome::room;
            }
            continue;
        }
        if (shifts != nullptr) {
            const auto* base = reinterpret_cast<const char*>(&builder.header());
            const auto offset = static_cast<std::uint64_t>(input.data.data() - base);
            if (!builder.refer_tensor(input.name, input.datatype, input.dimensions(),
                                      offset - shifts[index], input.data.size())) {
                return DecodeOutcome::room;
            }
            continue;
        }
        auto* place = builder.append_tensor(input.name, input.datatype, input.dimensions(),
                                            input.data.size());
        if (place == nullptr) return DecodeOutcome::room;
        if (!input.data.empty()) std::memcpy(place, input.data.data(), input.data.size());
    }
    for (std::uint32_t index = 0; index < output_count_; ++index) {
        const auto& output = outputs_[index];
        OutputRecord record{};
        record.flags = output.in_region ? kOutputBinarySet : kOutputBinary | kOutputBinarySet;
        record.region = output.region.id;
        record.region_offset = output.region.offset;
        record.region_bytes = output.region.bytes;
        if (!builder.append_text(output.name, record.name)) return DecodeOutcome::room;
        if (!builder.append_output(record)) return DecodeOutcome::limit;
    }
    return builder.finish() ? DecodeOutcome::accepted : DecodeOutcome::room;
}

}  // namespace mpserve
