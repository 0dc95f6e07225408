#include "mpserve/proto_decode.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "mpserve/checked.hpp"
#include "mpserve/json_tensor.hpp"
#include "mpserve/proto_wire.hpp"
#include "mpserve/signature_check.hpp"
#include "mpserve/utf8.hpp"

namespace mpserve {

namespace {

// Field numbers of ModelInferRequest.
enum RequestField : std::uint32_t {
    kModelName = 1,
    kModelVersion,
    kId,
    kParameters,
    kInputs,
    kOutputs,
    kRaw
};
// Field numbers of InferInputTensor; InferRequestedOutputTensor has the name only.
enum TensorField : std::uint32_t { kName = 1, kDatatype, kShape };
// Of an entry of a map, and of InferParameter.
enum EntryField : std::uint32_t { kKey = 1, kValue };
enum ChoiceField : std::uint32_t { kBool = 1, kInt64, kString };

// Takes a text field that may stand once; of several the last would count, which nobody sends.
DecodeOutcome take_text(ProtoReader& reader, ProtoTag tag, std::uint32_t& seen,
                        std::string_view& out) noexcept {
    const auto bit = 1u << tag.field;
    if (tag.wire != ProtoWire::delimited || (seen & bit) != 0) return DecodeOutcome::structure;
    seen |= bit;
    if (!reader.read_delimited(out)) return DecodeOutcome::structure;
    return is_utf8(out) ? DecodeOutcome::accepted : DecodeOutcome::structure;
}

}  // namespace

void ProtoInferDecoder::forget() noexcept {
    model_name_ = model_version_ = id_ = {};
    sequence_ = {};
    sequence_seen_ = 0;
    input_count_ = output_count_ = data_count_ = 0;
}

DecodeOutcome ProtoInferDecoder::scan(std::string_view message) noexcept {
    forget();
    ProtoReader reader(message);
    std::uint32_t seen = 0;
    while (!reader.at_end()) {
        const auto outcome = scan_field(reader, seen);
        if (outcome == DecodeOutcome::accepted) continue;
        forget();
        return outcome;
    }
    // Inputs without an entry have typed contents, or are missing: Python tells which.
    const auto outcome = input_count_ == 0 || data_count_ != input_count_ ? DecodeOutcome::count
                                                                          : DecodeOutcome::accepted;
    if (outcome != DecodeOutcome::accepted) forget();
    return outcome;
}

DecodeOutcome ProtoInferDecoder::scan_field(ProtoReader& reader, std::uint32_t& seen) noexcept {
    ProtoTag tag{};
    if (!reader.read_tag(tag)) return DecodeOutcome::structure;
    switch (tag.field) {
        case kModelName: return take_text(reader, tag, seen, model_name_);
        case kModelVersion: return take_text(reader, tag, seen, model_version_);
        case kId: return take_text(reader, tag, seen, id_);
        case kParameters:
        case kInputs:
        case kOutputs:
        case kRaw: break;
        default: return DecodeOutcome::feature;  // a field of a later protocol
    }
    std::string_view content;
    if (tag.wire != ProtoWire::delimited || !reader.read_delimited(content)) {
        return DecodeOutcome::structure;
    }
    if (tag.field == kParameters) return add_parameter(content);
    if (tag.field == kInputs) return add_input(content);
    if (tag.field == kOutputs) return add_output(content);
    return add_data(content);
}

// Key and value in the order of all encoders, each once.
DecodeOutcome ProtoInferDecoder::add_parameter(std::string_view entry) noexcept {
    ProtoReader reader(entry);
    ProtoTag tag{};
    std::string_view key;
    std::string_view choice;
    if (!reader.read_tag(tag) || tag.field != kKey || tag.wire != ProtoWire::delimited ||
        !reader.read_delimited(key) || !reader.read_tag(tag) || tag.field != kValue ||
        tag.wire != ProtoWire::delimited || !reader.read_delimited(choice) || !reader.at_end()) {
        return DecodeOutcome::structure;
    }
    constexpr std::string_view kKeys[] = {"sequence_id", "sequence_start", "sequence_end"};
    const auto which = static_cast<std::uint32_t>(std::ranges::find(kKeys, key) - kKeys);
    if (which == std::size(kKeys)) return DecodeOutcome::feature;
    // Of a key that stands twice the last counts, which nobody sends.
    if ((sequence_seen_ & 1u << which) != 0) return DecodeOutcome::structure;
    sequence_seen_ |= 1u << which;
    ProtoReader value(choice);
    if (which == 0) return read_sequence_id(value);
    return read_flag(value, which == 1 ? kSequenceStart : kSequenceEnd);
}

DecodeOutcome ProtoInferDecoder::read_sequence_id(ProtoReader& value) noexcept {
    ProtoTag tag{};
    if (!value.read_tag(tag)) return DecodeOutcome::structure;
    bool is_read = false;
    if (tag.field == kInt64 && tag.wire == ProtoWire::varint) {
        is_read = value.read_varint(sequence_.number);
    } else if (tag.field == kString && tag.wire == ProtoWire::delimited) {
        is_read = value.read_delimited(sequence_.text) && is_utf8(sequence_.text);
    }
    return is_read && value.at_end() ? DecodeOutcome::accepted : DecodeOutcome::structure;
}

DecodeOutcome ProtoInferDecoder::read_flag(ProtoReader& value, std::uint32_t flag) noexcept {
    ProtoTag tag{};
    std::uint64_t is_set = 0;
    if (!value.read_tag(tag) || tag.field != kBool || tag.wire != ProtoWire::varint ||
        !value.read_varint(is_set) || !value.at_end()) {
        return DecodeOutcome::structure;
    }
    if (is_set != 0) sequence_.flags |= flag;
    return DecodeOutcome::accepted;
}

DecodeOutcome ProtoInferDecoder::add_input(std::string_view message) noexcept {
    if (input_count_ == kMaxInputs) return DecodeOutcome::limit;
    auto& input = inputs_[input_count_];
    input.name = {};
    input.datatype = Datatype::invalid;
    input.rank = 0;
    ProtoReader reader(message);
    std::uint32_t seen = 0;
    while (!reader.at_end()) {
        ProtoTag tag{};
        if (!reader.read_tag(tag)) return DecodeOutcome::structure;
        auto outcome = DecodeOutcome::feature;  // parameters, typed contents
        std::string_view word;
        switch (tag.field) {
            case kName: outcome = take_text(reader, tag, seen, input.name); break;
            case kDatatype:
                outcome = take_text(reader, tag, seen, word);
                input.datatype = datatype_from_name(word);
                break;
            case kShape: outcome = read_dimensions(input, reader, tag.wire); break;
            default: break;
        }
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    if (input.datatype == Datatype::invalid) return DecodeOutcome::datatype;
    ++input_count_;
    return DecodeOutcome::accepted;
}

// Packed, as all encoders write them, or one by one, as all parsers must take them.
DecodeOutcome ProtoInferDecoder::read_dimensions(Input& input, ProtoReader& reader,
                                                 ProtoWire wire) noexcept {
    std::string_view packed;
    if (wire == ProtoWire::delimited) {
        if (!reader.read_delimited(packed)) return DecodeOutcome::structure;
    } else if (wire != ProtoWire::varint) {
        return DecodeOutcome::structure;
    }
    ProtoReader dimensions(packed);
    ProtoReader& source = wire == ProtoWire::delimited ? dimensions : reader;
    bool more = wire == ProtoWire::varint || !dimensions.at_end();
    while (more) {
        std::uint64_t dimension = 0;
        if (!source.read_varint(dimension)) return DecodeOutcome::structure;
        if (dimension > static_cast<std::uint64_t>(INT64_MAX)) return DecodeOutcome::shape;
        if (input.rank == kMaxRank) return DecodeOutcome::limit;
        input.shape[input.rank++] = static_cast<std::int64_t>(dimension);
        more = wire == ProtoWire::delimited && !dimensions.at_end();
    }
    return DecodeOutcome::accepted;
}

DecodeOutcome ProtoInferDecoder::add_output(std::string_view message) noexcept {
    if (output_count_ == kMaxOutputs) return DecodeOutcome::limit;
    auto& name = outputs_[output_count_++];
    name = {};
    ProtoReader reader(message);
    std::uint32_t seen = 0;
    while (!reader.at_end()) {
        ProtoTag tag{};
        if (!reader.read_tag(tag)) return DecodeOutcome::structure;
        if (tag.field != kName) return DecodeOutcome::feature;  // classification, shared memory
        const auto outcome = take_text(reader, tag, seen, name);
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    return DecodeOutcome::accepted;
}

// Entries may stand before, between or behind the inputs; the n-th is that of the n-th input.
DecodeOutcome ProtoInferDecoder::add_data(std::string_view data) noexcept {
    if (data_count_ == kMaxInputs) return DecodeOutcome::limit;
    inputs_[data_count_++].data = data;
    return DecodeOutcome::accepted;
}

DecodeOutcome ProtoInferDecoder::check(const Signature& signature) noexcept {
    SignatureCheck names(signature);
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        const auto& input = inputs_[index];
        const auto elements = element_count(input.dimensions());
        if (!elements) return DecodeOutcome::shape;
        if (input.datatype == Datatype::bytes) {
            const auto* data = reinterpret_cast<const std::byte*>(input.data.data());
            if (!is_valid_bytes_tensor(data, input.data.size(), *elements)) {
                return DecodeOutcome::count;
            }
        } else {
            const auto bytes = checked_mul(*elements, item_bytes(input.datatype));
            if (!bytes || *bytes != input.data.size()) return DecodeOutcome::count;
        }
        const auto outcome = names.add_input(input.name, input.datatype, input.dimensions());
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    for (std::uint32_t index = 0; index < output_count_; ++index) {
        const auto outcome = names.add_output(outputs_[index]);
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    return names.finish();
}

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
        bytes += sizeof(OutputRecord) + outputs_[index].size();
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

std::optional<std::uint32_t> ProtoInferDecoder::bytes_before_tensors(
    std::string_view beginning) noexcept {
    ProtoReader reader(beginning);
    for (;;) {
        ProtoTag tag{};
        std::uint64_t bytes = 0;
        if (!reader.read_tag(tag) || tag.wire != ProtoWire::delimited) return std::nullopt;
        if (tag.field == kRaw) {
            if (!reader.read_varint(bytes)) return std::nullopt;
            return static_cast<std::uint32_t>(reader.at() - beginning.data());
        }
        std::string_view content;
        if (!reader.read_delimited(content)) return std::nullopt;
    }
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
        OutputRecord record{};
        record.flags = kOutputBinary | kOutputBinarySet;
        if (!builder.append_text(outputs_[index], record.name)) return DecodeOutcome::room;
        if (!builder.append_output(record)) return DecodeOutcome::limit;
    }
    return builder.finish() ? DecodeOutcome::accepted : DecodeOutcome::room;
}

}  // namespace mpserve
