#include <cstring>

#include "mpserve/json_scanner.hpp"
#include "mpserve/json_tensor.hpp"
#include "mpserve/v2_decode.hpp"

namespace mpserve {

// Second pass: the planned request into a block.
class PlanWriter {
public:
    PlanWriter(const InferDecoder& decoder, MessageBuilder& builder,
               const BinaryPart& binary) noexcept
        : decoder_(decoder), builder_(builder), binary_(binary) {}

    DecodeOutcome run() noexcept {
        if (!write_header()) return DecodeOutcome::room;
        if (binary_.in_block) place_blobs();
        const std::byte* blob = binary_.data;
        for (std::uint32_t index = 0; index < decoder_.input_count_; ++index) {
            const auto& input = decoder_.inputs_[index];
            const auto outcome = input.region.id != 0 ? refer_region(input)
                                 : input.is_binary    ? write_blob(input, index, blob)
                                                      : write_json(input);
            if (outcome != DecodeOutcome::accepted) return outcome;
            if (input.is_binary) blob += input.data_bytes;
            if (!write_parameters(input)) return DecodeOutcome::room;
        }
        for (std::uint32_t index = 0; index < decoder_.output_count_; ++index) {
            const auto& output = decoder_.outputs_[index];
            OutputRecord record{};
            record.flags = output.flags;
            record.region = output.region.id;
            record.region_offset = output.region.offset;
            record.region_bytes = output.region.bytes;
            if (!builder_.append_text(output.name, record.name)) return DecodeOutcome::room;
            if (!builder_.append_output(record)) return DecodeOutcome::limit;
        }
        if (!builder_.finish()) return DecodeOutcome::room;
        if (binary_.in_block) move_blobs();
        return DecodeOutcome::accepted;
    }

private:
    using Input = InferDecoder::Input;

    bool write_header() noexcept {
        Text text{};
        if (decoder_.has_id_) {
            char decoded[InferDecoder::kMaxEscapedIdBytes];
            auto id = decoder_.id_;
            if (decoder_.id_escaped_) {
                id = {decoded, static_cast<std::size_t>(unescape(id, decoded) - decoded)};
            }
            if (!builder_.append_text(id, text)) return false;
            builder_.header().id = text;
        }
        if (!append_members(decoder_.request_parameters_, text)) return false;
        builder_.header().parameters = text;
        const auto& sequence = decoder_.sequence_;
        if (!builder_.append_text(sequence.text, text)) return false;
        auto& header = builder_.header();
        header.sequence_text = text;
        header.sequence_id = sequence.number;
        header.flags = decoder_.flags_ | sequence.flags | (decoder_.has_id_ ? kHasId : 0u);
        return true;
    }

    // Texts are appended without gaps, so that the pieces make one text.
    bool append_members(InferDecoder::ParameterRun run, Text& out) noexcept {
        out = {};
        if (run.count == 0) return true;
        if (!builder_.append_text("{", out)) return false;
        Text piece{};
        for (std::uint32_t index = 0; index < run.count; ++index) {
            if (index > 0 && !builder_.append_text(",", piece)) return false;
            const auto& parameter = decoder_.parameters_[run.first + index];
            if (!builder_.append_text(parameter.member, piece)) return false;
        }
        if (!builder_.append_text("}", piece)) return false;
        out.length = piece.offset + piece.length - out.offset;
        return true;
    }

    bool write_parameters(const Input& input) noexcept {
        if (input.parameters.count == 0) return true;
        Text text{};
        if (!append_members(input.parameters, text)) return false;
        builder_.set_tensor_parameters(text);
        return true;
    }

    DecodeOutcome refer_region(const Input& input) noexcept {
        const auto& [id, offset, bytes] = input.region;
        return builder_.refer_region(input.name, input.datatype, input.dimensions(), id, offset,
                                     bytes)
                   ? DecodeOutcome::accepted
                   : DecodeOutcome::room;
    }

    DecodeOutcome write_json(const Input& input) noexcept {
        if (input.datatype == Datatype::bytes) return write_json_strings(input);
        auto* place = builder_.append_tensor(input.name, input.datatype, input.dimensions(),
                                             input.data_bytes);
        if (place == nullptr) return DecodeOutcome::room;
        return read_json_array(input.data, input.datatype, input.elements,
                               InferDecoder::kMaxNesting, place);
    }

    DecodeOutcome write_json_strings(const Input& input) noexcept {
        auto* place = builder_.open_data();
        if (place == nullptr) return DecodeOutcome::room;
        std::uint64_t used = 0;
        const auto outcome =
            read_json_strings(input.data, input.elements, InferDecoder::kMaxNesting, place,
                              builder_.remaining(), used);
        if (outcome != DecodeOutcome::accepted) return outcome;
        return builder_.close_open_data(input.name, input.datatype, input.dimensions(), used)
                   ? DecodeOutcome::accepted
                   : DecodeOutcome::room;
    }

    DecodeOutcome write_blob(const Input& input, std::uint32_t index,
                             const std::byte* blob) noexcept {
        if (input.datatype == Datatype::bytes &&
            !is_valid_bytes_tensor(blob, input.data_bytes, input.elements)) {
            return DecodeOutcome::count;
        }
        if (binary_.in_block) {
            const auto offset = static_cast<std::uint64_t>(blob - base()) - shifts_[index];
            return builder_.refer_tensor(input.name, input.datatype, input.dimensions(), offset,
                                         input.data_bytes)
                       ? DecodeOutcome::accepted
                       : DecodeOutcome::room;
        }
        auto* place = builder_.append_tensor(input.name, input.datatype, input.dimensions(),
                                             input.data_bytes);
        if (place == nullptr) return DecodeOutcome::room;
        if (input.data_bytes != 0) std::memcpy(place, blob, input.data_bytes);
        return DecodeOutcome::accepted;
    }

    // Decides by how many bytes each blob in the block moves down: back to front, so that a blob
    // moves at least as far as those behind it and never into the one in front of it.
    void place_blobs() noexcept {
        std::uint64_t behind = 0;
        for (std::uint32_t index = 0; index < decoder_.input_count_; ++index) {
            if (decoder_.inputs_[index].is_binary) behind += decoder_.inputs_[index].data_bytes;
        }
        const std::byte* blob = binary_.data + behind;
        std::uint64_t shift = 0;
        for (std::uint32_t index = decoder_.input_count_; index-- > 0;) {
            const auto& input = decoder_.inputs_[index];
            if (!input.is_binary) continue;
            blob -= input.data_bytes;
            const auto item = item_bytes(input.datatype);
            if (item > 1) shift += (reinterpret_cast<std::uintptr_t>(blob) - shift) % item;
            shifts_[index] = shift;
        }
    }

    // Last of all: until here names and numbers were read from the JSON that this overwrites.
    void move_blobs() noexcept {
        auto* blob = base() + (binary_.data - base());
        for (std::uint32_t index = 0; index < decoder_.input_count_; ++index) {
            const auto& input = decoder_.inputs_[index];
            if (!input.is_binary) continue;
            if (shifts_[index] != 0) std::memmove(blob - shifts_[index], blob, input.data_bytes);
            blob += input.data_bytes;
        }
    }

    std::byte* base() noexcept { return reinterpret_cast<std::byte*>(&builder_.header()); }

    const InferDecoder& decoder_;
    MessageBuilder& builder_;
    const BinaryPart& binary_;
    std::array<std::uint64_t, InferDecoder::kMaxInputs> shifts_;
};

std::uint64_t InferDecoder::block_bytes(bool binary_in_block) const noexcept {
    constexpr std::uint64_t kPerInput =
        sizeof(TensorRecord) + kTensorAlignment + sizeof(std::int64_t);
    std::uint64_t bytes =
        sizeof(MessageHeader) + id_.size() + sequence_.text.size() + 2 * alignof(TensorRecord) + 2;
    for (std::uint32_t index = 0; index < parameter_count_; ++index) {
        bytes += parameters_[index].member.size() + 3;  // comma, or the braces
    }
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        const auto& input = inputs_[index];
        bytes += kPerInput + input.name.size() + input.rank * sizeof(std::int64_t);
        if (!input.is_binary || !binary_in_block) bytes += input.data_bytes;
    }
    for (std::uint32_t index = 0; index < output_count_; ++index) {
        bytes += sizeof(OutputRecord) + outputs_[index].name.size();
    }
    return bytes;
}

DecodeOutcome InferDecoder::fill(MessageBuilder& builder, const BinaryPart& binary) noexcept {
    if (input_count_ == 0) return DecodeOutcome::structure;
    return PlanWriter(*this, builder, binary).run();
}

}  // namespace mpserve
