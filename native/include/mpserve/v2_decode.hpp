// V2 inference request (JSON, with or without binary tensors) → request message in a block.
//
// It accepts what is valid and common; everything else it *declines* and leaves to the Python
// codec, which knows all features and all error texts. So a decline is never an answer. A tensor in
// a client's shared memory is referred to, where the table of regions has a place for it.
//
// Two passes. `plan` reads the structure and checks it against the signature, jumping over tensor
// data (16 bytes a step); it then knows every shape, so `block_bytes` is what the block needs,
// within the slack of BYTES escapes, whatever the size of the body. `fill` writes the message: JSON
// numbers are parsed straight into their place. A request is parsed in full only once: jumping
// costs less than allocating by a bound (a JSON body can grow by 4) and moving.
//
// Guarantees: what is accepted is valid RFC 8259 and UTF-8, fits the signature, and the message
// opens
//   with MessageView; numbers are exact (FP32 is the float of the parsed double, as Triton has it);
//   nothing is written but the builder's block. No allocation once warm.
// Assumes: `json`, the binary part and the signature stay as they are between `plan` and `fill`.
// Owner: one InferDecoder per thread, reused.
// Source: triton.md 3.5-3.7; KServe V2; RFC 8259.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "mpserve/decode_outcome.hpp"
#include "mpserve/message.hpp"
#include "mpserve/region_table.hpp"
#include "mpserve/sequence_words.hpp"
#include "mpserve/signature.hpp"

namespace mpserve {

struct DecodeOptions {
    // Keep parameters of inputs as JSON text in the message (MLServer's content types); without it
    // a request that has any but `binary_data_size` is declined.
    bool keep_tensor_parameters = false;
    // Read what the request says of its sequence; without it a request that says so is declined.
    bool reads_sequences = false;
    // Longer JSON text, or a larger tensor made from it, is for Python to refuse.
    std::uint64_t max_json_bytes = UINT64_MAX;
    // What clients registered; nullptr: a request that names a region is declined.
    const RegionTable* regions = nullptr;
};

// The binary tensors of a request, one after another, and where they lie.
struct BinaryPart {
    const std::byte* data = nullptr;
    // True: they lie in the builder's block, directly behind the JSON text, which lies there too.
    // They are then referred to, not copied. A blob that is not aligned to its item size is moved
    // down by a few bytes, over the JSON text (each input's own JSON is longer than the 7 bytes it
    // may need), so no spare room is needed; place the body so that the byte behind the JSON is
    // 64-aligned, and nothing ever moves in the usual case. False: they are copied into the block.
    bool in_block = false;
};

// Room for the message without its tensors in the block's tail, before the JSON is known: for a
// block that a body of `json_bytes` JSON and any number of binary bytes is received into.
constexpr std::uint64_t decode_bound(std::uint64_t json_bytes) noexcept {
    // Worst growth is an 8-byte element or dimension for two bytes of JSON ("1,").
    return 512 + 4 * json_bytes;
}

class InferDecoder {
public:
    static constexpr std::size_t kMaxInputs = 64;
    static constexpr std::size_t kMaxOutputs = 64;
    static constexpr std::size_t kMaxParameters = 32;
    static constexpr std::size_t kMaxEscapedIdBytes = 256;
    static constexpr int kMaxNesting = 64;  // the protocol's own limit is 100; Python counts to it

    // First pass. `binary_bytes`: what follows the JSON in the body.
    DecodeOutcome plan(std::string_view json, std::uint64_t binary_bytes,
                       const Signature& signature, const DecodeOptions& options) noexcept;

    // After an accepted `plan`.
    const SequenceWords& sequence() const noexcept { return sequence_; }
    std::span<const std::int64_t> first_shape() const noexcept { return inputs_[0].dimensions(); }
    // After an accepted `plan`: whether the client gave an id.
    bool has_id() const noexcept { return has_id_ && !id_.empty(); }

    // After an accepted `plan`: bytes that `fill` appends at most; without binary tensors when
    // these lie in the block already.
    std::uint64_t block_bytes(bool binary_in_block) const noexcept;

    // Second pass, into a builder on which `begin` was called. `accepted`: the message is finished.
    DecodeOutcome fill(MessageBuilder& builder, const BinaryPart& binary) noexcept;

private:
    friend class PlanReader;
    friend class PlanWriter;

    // Custom parameters of the request or of one input: a run of parameters_.
    struct ParameterRun {
        std::uint32_t first = 0;
        std::uint32_t count = 0;
    };
    struct Parameter {
        std::string_view key;     // between its quotes
        std::string_view member;  // `"key" : value` as sent
    };
    struct Input {
        std::string_view name;
        std::string_view data;  // the JSON array with its brackets; empty: binary, or in a region
        Datatype datatype = Datatype::invalid;
        std::uint8_t rank = 0;
        bool is_binary = false;
        RegionPiece region;  // id 0: in none
        ParameterRun parameters;
        std::uint64_t elements = 0;
        std::uint64_t data_bytes = 0;  // in the message; BYTES from JSON: at most
        std::array<std::int64_t, kMaxRank> shape;

        std::span<const std::int64_t> dimensions() const noexcept { return {shape.data(), rank}; }
    };
    struct Output {
        std::string_view name;
        std::uint32_t flags = 0;
        RegionPiece region;  // id 0: in none
    };

    void forget() noexcept;

    std::string_view id_;
    bool has_id_ = false;
    bool id_escaped_ = false;
    std::uint32_t flags_ = 0;
    std::uint32_t input_count_ = 0;
    std::uint32_t output_count_ = 0;
    std::uint32_t parameter_count_ = 0;
    ParameterRun request_parameters_;
    SequenceWords sequence_;
    std::array<Input, kMaxInputs> inputs_;
    std::array<Output, kMaxOutputs> outputs_;
    std::array<Parameter, kMaxParameters> parameters_;
};

}  // namespace mpserve
