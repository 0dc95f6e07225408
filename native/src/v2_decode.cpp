#include "mpserve/v2_decode.hpp"

#include <cstring>

#include "mpserve/checked.hpp"
#include "mpserve/json_scanner.hpp"
#include "mpserve/json_tensor.hpp"
#include "mpserve/signature_check.hpp"

namespace mpserve {

namespace {

constexpr std::string_view kRegionParameters = "shared_memory_";

// Members of one JSON object, a bit each, to refuse a repeated one.
using MemberSet = std::uint32_t;

bool add_member(MemberSet& seen, unsigned member) noexcept {
    const MemberSet bit = 1u << member;
    const bool is_new = (seen & bit) == 0;
    seen |= bit;
    return is_new;
}

bool is_reserved_parameter(std::string_view key) noexcept {
    return key == "sequence_id" || key == "sequence_start" || key == "sequence_end" ||
           key == "priority" || key == "timeout" || key.starts_with("triton_");
}

}  // namespace

// First pass: structure into the decoder's tables, checked against the signature.
class PlanReader {
public:
    PlanReader(InferDecoder& decoder, std::string_view json, std::uint64_t binary_bytes,
               const Signature& signature, const DecodeOptions& options) noexcept
        : decoder_(decoder),
          scanner_(json),
          binary_left_(binary_bytes),
          options_(options),
          signature_(signature) {}

    DecodeOutcome run() noexcept {
        MemberSet seen = 0;
        const bool is_read = read_object(
            [this, &seen](const JsonString& key) { return read_request_member(key, seen); });
        if (!is_read) return outcome_;
        if (!scanner_.at_end()) return DecodeOutcome::json;
        if (decoder_.input_count_ == 0) return DecodeOutcome::structure;
        if (const auto outcome = signature_.finish(); outcome != DecodeOutcome::accepted) {
            return outcome;
        }
        return binary_left_ == 0 ? DecodeOutcome::accepted : DecodeOutcome::count;
    }

private:
    bool decline(DecodeOutcome outcome) noexcept {
        outcome_ = outcome;
        return false;
    }

    // Calls `read_member(key)` with the scanner in front of each value.
    template <typename ReadMember>
    bool read_object(ReadMember&& read_member) noexcept {
        if (!scanner_.take('{')) return decline(DecodeOutcome::structure);
        if (scanner_.take('}')) return true;
        do {
            JsonString key;
            if (!scanner_.read_string(key)) return decline(DecodeOutcome::json);
            if (key.escaped) return decline(DecodeOutcome::feature);
            if (!scanner_.take(':')) return decline(DecodeOutcome::json);
            if (!read_member(key)) return false;
        } while (scanner_.take(','));
        return scanner_.take('}') || decline(DecodeOutcome::json);
    }

    template <typename ReadItem>
    bool read_list(ReadItem&& read_item) noexcept {
        if (!scanner_.take('[')) return decline(DecodeOutcome::structure);
        if (scanner_.take(']')) return true;
        do {
            if (!read_item()) return false;
        } while (scanner_.take(','));
        return scanner_.take(']') || decline(DecodeOutcome::json);
    }

    bool read_request_member(const JsonString& key, MemberSet& seen) noexcept {
        if (key.raw == "inputs") {
            if (!add_member(seen, 0)) return decline(DecodeOutcome::structure);
            return read_list([this] { return read_input(); });
        }
        if (key.raw == "outputs") {
            if (!add_member(seen, 1)) return decline(DecodeOutcome::structure);
            return read_list([this] { return read_output(); });
        }
        if (key.raw == "id") {
            if (!add_member(seen, 2)) return decline(DecodeOutcome::structure);
            return read_id();
        }
        if (key.raw == "parameters") {
            if (!add_member(seen, 3)) return decline(DecodeOutcome::structure);
            return read_request_parameters();
        }
        return decline(DecodeOutcome::structure);
    }

    bool read_id() noexcept {
        JsonString id;
        if (!scanner_.read_string(id)) return decline(DecodeOutcome::structure);
        if (id.escaped && id.raw.size() > InferDecoder::kMaxEscapedIdBytes) {
            return decline(DecodeOutcome::limit);
        }
        decoder_.id_ = id.raw;
        decoder_.id_escaped_ = id.escaped;
        decoder_.has_id_ = true;
        return true;
    }

    bool read_request_parameters() noexcept {
        auto& run = decoder_.request_parameters_;
        run.first = decoder_.parameter_count_;
        MemberSet seen = 0;
        return read_object([this, &run, &seen](const JsonString& key) {
            if (key.raw == "binary_data_output") {
                return read_flag(seen, 0, kBinaryOutputsByDefault, decoder_.flags_);
            }
            if (options_.reads_sequences) {
                auto& flags = decoder_.sequence_.flags;
                if (key.raw == "sequence_id") return read_sequence_id(seen);
                if (key.raw == "sequence_start") return read_flag(seen, 2, kSequenceStart, flags);
                if (key.raw == "sequence_end") return read_flag(seen, 3, kSequenceEnd, flags);
            }
            if (is_reserved_parameter(key.raw)) return decline(DecodeOutcome::feature);
            return read_custom_parameter(key, run);
        });
    }

    bool read_flag(MemberSet& seen, unsigned member, std::uint32_t flag,
                   std::uint32_t& flags) noexcept {
        bool is_set = false;
        if (!add_member(seen, member) || !scanner_.read_bool(is_set)) {
            return decline(DecodeOutcome::structure);
        }
        if (is_set) flags |= flag;
        return true;
    }

    // A number, or a text that stands as it is.
    bool read_sequence_id(MemberSet& seen) noexcept {
        if (!add_member(seen, 1)) return decline(DecodeOutcome::structure);
        auto& words = decoder_.sequence_;
        if (scanner_.peek() == '"') return read_name(words.text);
        return scanner_.read_size(words.number) || decline(DecodeOutcome::structure);
    }

    // A string, a number or a boolean, kept as it was sent.
    bool read_custom_parameter(const JsonString& key, InferDecoder::ParameterRun& run) noexcept {
        const char* const member = key.raw.data() - 1;
        const JsonScalar kind = scanner_.take_scalar();
        // A content type that is no text is a fault for MLServer; Python tells it.
        const bool is_sound = key.raw != "content_type" || kind == JsonScalar::string;
        if (kind == JsonScalar::none || !is_sound) return decline(DecodeOutcome::feature);
        for (std::uint32_t index = 0; index < run.count; ++index) {
            if (decoder_.parameters_[run.first + index].key == key.raw) {
                return decline(DecodeOutcome::structure);
            }
        }
        if (decoder_.parameter_count_ == InferDecoder::kMaxParameters) {
            return decline(DecodeOutcome::limit);
        }
        decoder_.parameters_[decoder_.parameter_count_++] = {
            key.raw, {member, static_cast<std::size_t>(scanner_.at() - member)}};
        ++run.count;
        return true;
    }

    bool read_input() noexcept {
        if (decoder_.input_count_ == InferDecoder::kMaxInputs) return decline(DecodeOutcome::limit);
        auto& input = decoder_.inputs_[decoder_.input_count_];
        input.data = {};
        input.rank = 0;
        input.is_binary = false;
        input.region = {};
        input.parameters = {};
        constexpr MemberSet kRequired = 1u << 0 | 1u << 1 | 1u << 2;
        MemberSet seen = 0;
        const bool is_read = read_object([this, &input, &seen](const JsonString& key) {
            if (key.raw == "name") {
                return add_member(seen, 0) ? read_name(input.name)
                                           : decline(DecodeOutcome::structure);
            }
            if (key.raw == "shape") {
                return add_member(seen, 1) ? read_shape(input) : decline(DecodeOutcome::structure);
            }
            if (key.raw == "datatype") {
                return add_member(seen, 2) ? read_datatype(input)
                                           : decline(DecodeOutcome::structure);
            }
            if (key.raw == "data") {
                return add_member(seen, 3) ? read_data(input) : decline(DecodeOutcome::structure);
            }
            if (key.raw == "parameters") {
                return add_member(seen, 4) ? read_input_parameters(input)
                                           : decline(DecodeOutcome::structure);
            }
            return decline(DecodeOutcome::structure);
        });
        if (!is_read) return false;
        if ((seen & kRequired) != kRequired) return decline(DecodeOutcome::structure);
        if (input.is_binary + !input.data.empty() + (input.region.id != 0) != 1) {
            return decline(DecodeOutcome::structure);
        }
        if (!check_size(input) || !check_signature(input)) return false;
        ++decoder_.input_count_;
        return true;
    }

    bool read_name(std::string_view& name) noexcept {
        JsonString text;
        if (!scanner_.read_string(text)) return decline(DecodeOutcome::structure);
        // An escaped name would have to be kept decoded to be compared; nobody sends one.
        if (text.escaped) return decline(DecodeOutcome::feature);
        name = text.raw;
        return true;
    }

    bool read_shape(InferDecoder::Input& input) noexcept {
        return read_list([this, &input] {
            std::uint64_t dimension = 0;
            if (!scanner_.read_size(dimension)) return decline(DecodeOutcome::shape);
            if (input.rank == kMaxRank) return decline(DecodeOutcome::limit);
            input.shape[input.rank++] = static_cast<std::int64_t>(dimension);
            return true;
        });
    }

    bool read_datatype(InferDecoder::Input& input) noexcept {
        JsonString word;
        if (!scanner_.read_string(word)) return decline(DecodeOutcome::structure);
        input.datatype = datatype_from_name(word.raw);
        return input.datatype != Datatype::invalid || decline(DecodeOutcome::datatype);
    }

    bool read_data(InferDecoder::Input& input) noexcept {
        if (scanner_.peek() != '[') return decline(DecodeOutcome::structure);
        const char* const begin = scanner_.at();
        const char* const behind =
            jump_over_array(begin, scanner_.end(), InferDecoder::kMaxNesting);
        if (behind == nullptr) return decline(DecodeOutcome::json);
        input.data = {begin, static_cast<std::size_t>(behind - begin)};
        scanner_.go_to(behind);
        return true;
    }

    bool read_input_parameters(InferDecoder::Input& input) noexcept {
        input.parameters.first = decoder_.parameter_count_;
        RegionClaim claim;
        const bool is_read = read_object([this, &input, &claim](const JsonString& key) {
            if (key.raw == "binary_data_size") {
                if (input.is_binary || !scanner_.read_size(input.data_bytes)) {
                    return decline(DecodeOutcome::structure);
                }
                input.is_binary = true;
                return true;
            }
            if (key.raw.starts_with(kRegionParameters)) return read_claim(key, claim);
            if (!options_.keep_tensor_parameters) return decline(DecodeOutcome::feature);
            return read_custom_parameter(key, input.parameters);
        });
        return is_read && place(claim, input.region);
    }

    // What the parameters of a tensor say of a region.
    struct RegionClaim {
        RegionUse use;
        MemberSet seen = 0;
    };

    bool read_claim(const JsonString& key, RegionClaim& claim) noexcept {
        if (key.raw == "shared_memory_region") {
            return add_member(claim.seen, 0) ? read_name(claim.use.name)
                                             : decline(DecodeOutcome::structure);
        }
        const bool is_offset = key.raw == "shared_memory_offset";
        if (!is_offset && key.raw != "shared_memory_byte_size") {
            return decline(DecodeOutcome::feature);
        }
        if (!add_member(claim.seen, is_offset ? 1 : 2)) return decline(DecodeOutcome::structure);
        return scanner_.read_size(is_offset ? claim.use.offset : claim.use.bytes) ||
               decline(DecodeOutcome::structure);
    }

    // Python tells what is wrong with a claim that the table has no place for.
    bool place(const RegionClaim& claim, RegionPiece& piece) noexcept {
        if (claim.seen == 0) return true;
        if (options_.regions == nullptr || (claim.seen & 1u) == 0 ||
            options_.regions->place(claim.use, piece) != RegionFault::none) {
            return decline(DecodeOutcome::feature);
        }
        return true;
    }

    // Elements and bytes of the input; its JSON must be long enough for as many, so that a shape
    // cannot ask for more room than the body justifies.
    bool check_size(InferDecoder::Input& input) noexcept {
        const auto elements = element_count(input.dimensions());
        if (!elements) return decline(DecodeOutcome::shape);
        input.elements = *elements;
        const auto item = item_bytes(input.datatype);
        if (input.region.id != 0) {
            // Elements of BYTES are checked, and so must not change any more: Python copies them.
            if (input.datatype == Datatype::bytes) return decline(DecodeOutcome::feature);
            const auto bytes = checked_mul(*elements, item);
            input.data_bytes = 0;
            return (bytes && *bytes == input.region.bytes) || decline(DecodeOutcome::count);
        }
        if (!input.is_binary) {
            if (input.datatype == Datatype::fp16 || input.datatype == Datatype::bf16) {
                return decline(DecodeOutcome::datatype);
            }
            if (*elements > input.data.size() ||
                smallest_json_array(input.datatype, *elements) > input.data.size()) {
                return decline(DecodeOutcome::count);
            }
            input.data_bytes = input.datatype == Datatype::bytes
                                   ? input.data.size() + sizeof(std::uint32_t) * *elements
                                   : item * *elements;
            if (input.data_bytes > options_.max_json_bytes) return decline(DecodeOutcome::limit);
            return true;
        }
        if (input.datatype != Datatype::bytes) {
            const auto bytes = checked_mul(*elements, item);
            if (!bytes || *bytes != input.data_bytes) return decline(DecodeOutcome::count);
        }
        if (input.data_bytes > binary_left_) return decline(DecodeOutcome::count);
        binary_left_ -= input.data_bytes;
        return true;
    }

    bool check_signature(const InferDecoder::Input& input) noexcept {
        const auto outcome = signature_.add_input(input.name, input.datatype, input.dimensions());
        return outcome == DecodeOutcome::accepted || decline(outcome);
    }

    bool read_output() noexcept {
        if (decoder_.output_count_ == InferDecoder::kMaxOutputs)
            return decline(DecodeOutcome::limit);
        auto& output = decoder_.outputs_[decoder_.output_count_];
        output.flags = 0;
        output.region = {};
        MemberSet seen = 0;
        const bool is_read = read_object([this, &output, &seen](const JsonString& key) {
            if (key.raw == "name") {
                return add_member(seen, 0) ? read_name(output.name)
                                           : decline(DecodeOutcome::structure);
            }
            if (key.raw != "parameters" || !add_member(seen, 1)) {
                return decline(DecodeOutcome::structure);
            }
            return read_output_parameters(output);
        });
        if (!is_read) return false;
        if ((seen & 1u) == 0) return decline(DecodeOutcome::structure);
        return check_output(output.name);
    }

    bool read_output_parameters(InferDecoder::Output& output) noexcept {
        RegionClaim claim;
        const bool is_read = read_object([this, &output, &claim](const JsonString& key) {
            if (key.raw.starts_with(kRegionParameters)) return read_claim(key, claim);
            if (key.raw != "binary_data") return decline(DecodeOutcome::feature);
            bool binary = false;
            if (output.flags != 0 || !scanner_.read_bool(binary)) {
                return decline(DecodeOutcome::structure);
            }
            output.flags = binary ? kOutputBinarySet | kOutputBinary : kOutputBinarySet;
            return true;
        });
        if (!is_read || !place(claim, output.region)) return false;
        if (output.region.id == 0) return true;
        if ((output.flags & kOutputBinary) != 0) return decline(DecodeOutcome::feature);
        output.flags = kOutputBinarySet;
        return true;
    }

    bool check_output(std::string_view name) noexcept {
        const auto outcome = signature_.add_output(name);
        if (outcome != DecodeOutcome::accepted) return decline(outcome);
        ++decoder_.output_count_;
        return true;
    }

    InferDecoder& decoder_;
    JsonScanner scanner_;
    std::uint64_t binary_left_;
    const DecodeOptions& options_;
    SignatureCheck signature_;
    DecodeOutcome outcome_ = DecodeOutcome::json;
};

void InferDecoder::forget() noexcept {
    id_ = {};
    has_id_ = id_escaped_ = false;
    flags_ = 0;
    input_count_ = output_count_ = parameter_count_ = 0;
    request_parameters_ = {};
    sequence_ = {};
}

DecodeOutcome InferDecoder::plan(std::string_view json, std::uint64_t binary_bytes,
                                 const Signature& signature,
                                 const DecodeOptions& options) noexcept {
    forget();
    if (json.size() > options.max_json_bytes) return DecodeOutcome::limit;
    // The scanner's numbers end at the latest at the last brace, which is then the end for it.
    while (!json.empty() && json.back() != '}') {
        constexpr std::string_view kBlanks = " \n\r\t";
        if (kBlanks.find(json.back()) == std::string_view::npos) return DecodeOutcome::json;
        json.remove_suffix(1);
    }
    if (json.empty()) return DecodeOutcome::json;
    const auto outcome = PlanReader(*this, json, binary_bytes, signature, options).run();
    if (outcome != DecodeOutcome::accepted) forget();
    return outcome;
}

}  // namespace mpserve
