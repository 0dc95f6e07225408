#include "mpserve/proto_decode.hpp"

#include <algorithm>
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
// Field numbers of InferInputTensor.
enum TensorField : std::uint32_t { kName = 1, kDatatype, kShape, kInputParameters };
// Field numbers of InferRequestedOutputTensor; the name's is the same.
enum OutputField : std::uint32_t { kOutputParameters = 2 };
// Field numbers of a map entry and of InferParameter.
enum EntryField : std::uint32_t { kKey = 1, kValue };
enum ChoiceField : std::uint32_t { kBool = 1, kInt64, kString };

// Parameters that name a region, a bit each; and all that a piece needs.
enum RegionMember : std::uint32_t { kRegion = 1u << 0, kOffset = 1u << 1, kByteSize = 1u << 2 };
constexpr std::uint32_t kWholeUse = kRegion | kByteSize;

std::uint32_t region_member(std::string_view key) noexcept {
    if (key == "shared_memory_region") return kRegion;
    if (key == "shared_memory_offset") return kOffset;
    return key == "shared_memory_byte_size" ? kByteSize : 0u;
}

DecodeOutcome place(const RegionTable* regions, const RegionUse& use, RegionPiece& piece) noexcept {
    const bool is_placed = regions != nullptr && regions->place(use, piece) == RegionFault::none;
    return is_placed ? DecodeOutcome::accepted : DecodeOutcome::feature;
}

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
    if (spread_data()) return DecodeOutcome::accepted;
    forget();
    return DecodeOutcome::count;
}

// Entries are those of the inputs that lie in no region, in order. Inputs without one have typed
// contents, or are missing: Python tells which.
bool ProtoInferDecoder::spread_data() noexcept {
    std::uint32_t taken = 0;
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        auto& input = inputs_[index];
        input.data = {};
        if (input.in_region) continue;
        if (taken == data_count_) return false;
        input.data = data_[taken++];
    }
    return input_count_ != 0 && taken == data_count_;
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
    input.use = {};
    input.region = {};
    ProtoReader reader(message);
    std::uint32_t seen = 0;
    std::uint32_t seen_of_region = 0;
    while (!reader.at_end()) {
        ProtoTag tag{};
        if (!reader.read_tag(tag)) return DecodeOutcome::structure;
        auto outcome = DecodeOutcome::feature;
        std::string_view word;
        switch (tag.field) {
            case kName: outcome = take_text(reader, tag, seen, input.name); break;
            case kDatatype:
                outcome = take_text(reader, tag, seen, word);
                input.datatype = datatype_from_name(word);
                break;
            case kShape: outcome = read_dimensions(input, reader, tag.wire); break;
            case kInputParameters:
                outcome = read_use(reader, tag.wire, input.use, seen_of_region);
                break;
            default: break;  // typed contents
        }
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    input.in_region = seen_of_region != 0;
    if (input.in_region && (seen_of_region & kWholeUse) != kWholeUse) return DecodeOutcome::feature;
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
    auto& output = outputs_[output_count_++];
    output = {};
    ProtoReader reader(message);
    std::uint32_t seen = 0;
    std::uint32_t seen_of_region = 0;
    while (!reader.at_end()) {
        ProtoTag tag{};
        if (!reader.read_tag(tag)) return DecodeOutcome::structure;
        auto outcome = DecodeOutcome::feature;
        if (tag.field == kName) outcome = take_text(reader, tag, seen, output.name);
        if (tag.field == kOutputParameters) {
            outcome = read_use(reader, tag.wire, output.use, seen_of_region);
        }
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    output.in_region = seen_of_region != 0;
    return output.in_region && (seen_of_region & kWholeUse) != kWholeUse ? DecodeOutcome::feature
                                                                         : DecodeOutcome::accepted;
}

// An entry of the parameters; others than those of regions are Python's (classification).
DecodeOutcome ProtoInferDecoder::read_use(ProtoReader& reader, ProtoWire wire, RegionUse& use,
                                          std::uint32_t& seen) noexcept {
    std::string_view content;
    if (wire != ProtoWire::delimited || !reader.read_delimited(content)) {
        return DecodeOutcome::structure;
    }
    ProtoReader entry(content);
    std::string_view key;
    std::string_view value;
    ProtoTag tag{};
    if (!entry.read_tag(tag) || tag.field != kKey || tag.wire != ProtoWire::delimited ||
        !entry.read_delimited(key) || !entry.read_tag(tag) || tag.field != kValue ||
        tag.wire != ProtoWire::delimited || !entry.read_delimited(value) || !entry.at_end()) {
        return DecodeOutcome::feature;
    }
    const auto member = region_member(key);
    if (member == 0 || (seen & member) != 0) return DecodeOutcome::feature;
    seen |= member;
    ProtoReader parameter(value);
    bool is_read = parameter.read_tag(tag);
    if (member == kRegion) {
        is_read = is_read && tag.field == kString && tag.wire == ProtoWire::delimited &&
                  parameter.read_delimited(use.name);
    } else {
        is_read = is_read && tag.field == kInt64 && tag.wire == ProtoWire::varint &&
                  parameter.read_varint(member == kOffset ? use.offset : use.bytes);
    }
    return is_read && parameter.at_end() ? DecodeOutcome::accepted : DecodeOutcome::feature;
}

// Entries may stand before, between or behind the inputs.
DecodeOutcome ProtoInferDecoder::add_data(std::string_view data) noexcept {
    if (data_count_ == kMaxInputs) return DecodeOutcome::limit;
    data_[data_count_++] = data;
    return DecodeOutcome::accepted;
}

DecodeOutcome ProtoInferDecoder::check(const Signature& signature,
                                       const RegionTable* regions) noexcept {
    SignatureCheck names(signature);
    for (std::uint32_t index = 0; index < input_count_; ++index) {
        auto& input = inputs_[index];
        auto outcome = check_input(input, regions);
        if (outcome != DecodeOutcome::accepted) return outcome;
        outcome = names.add_input(input.name, input.datatype, input.dimensions());
        if (outcome != DecodeOutcome::accepted) return outcome;
    }
    for (std::uint32_t index = 0; index < output_count_; ++index) {
        auto& output = outputs_[index];
        const auto outcome = names.add_output(output.name);
        if (outcome != DecodeOutcome::accepted) return outcome;
        if (!output.in_region) continue;
        if (place(regions, output.use, output.region) != DecodeOutcome::accepted) {
            return DecodeOutcome::feature;
        }
    }
    return names.finish();
}

// Elements and bytes of an input, and its place in a region.
DecodeOutcome ProtoInferDecoder::check_input(Input& input, const RegionTable* regions) noexcept {
    const auto elements = element_count(input.dimensions());
    if (!elements) return DecodeOutcome::shape;
    if (input.datatype == Datatype::bytes) {
        // Elements are checked, and so must not change any more: Python copies them.
        if (input.in_region) return DecodeOutcome::feature;
        const auto* data = reinterpret_cast<const std::byte*>(input.data.data());
        return is_valid_bytes_tensor(data, input.data.size(), *elements) ? DecodeOutcome::accepted
                                                                         : DecodeOutcome::count;
    }
    auto got = static_cast<std::uint64_t>(input.data.size());
    if (input.in_region) {
        if (place(regions, input.use, input.region) != DecodeOutcome::accepted) {
            return DecodeOutcome::feature;
        }
        got = input.region.bytes;
    }
    const auto bytes = checked_mul(*elements, item_bytes(input.datatype));
    return bytes && *bytes == got ? DecodeOutcome::accepted : DecodeOutcome::count;
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

}  // namespace mpserve
