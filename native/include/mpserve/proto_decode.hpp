// `ModelInferRequest` (protobuf) with raw tensors → request message in a block.
//
// As with JSON (v2_decode.hpp), it accepts what is valid and common and *declines* everything else,
// which the Python codec then reads: most parameters, typed contents, more raw entries than inputs.
// Of parameters it reads those of sequences, and where a tensor lies in a client's shared memory.
//
// A large message may lie in the block already: then `fill_in_place` refers to its tensors, which
// move by less than an element each, and only where their place is not theirs.
//
// Three steps, because the model is named in the message: `scan` reads the structure, `check`
// compares it with the signature of the model that was found, and with the table of regions, `fill`
// writes the message; each tensor is copied once, from the client's bytes into the block.
//
// Guarantees: what is accepted is a valid message whose texts are UTF-8, fits the signature, and
//   opens with MessageView. No allocation once warm.
// Assumes: the bytes and the signature stay as they are from `scan` to `fill`.
// Owner: one ProtoInferDecoder per thread, reused.
// Source: triton.md 4.3 and 4.6.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "mpserve/decode_outcome.hpp"
#include "mpserve/message.hpp"
#include "mpserve/proto_wire.hpp"
#include "mpserve/region_table.hpp"
#include "mpserve/sequence_words.hpp"
#include "mpserve/signature.hpp"

namespace mpserve {

class ProtoInferDecoder {
public:
    static constexpr std::size_t kMaxInputs = 64;
    static constexpr std::size_t kMaxOutputs = 64;

    DecodeOutcome scan(std::string_view message) noexcept;

    // After an accepted `scan`: as the client sent them.
    std::string_view model_name() const noexcept { return model_name_; }
    std::string_view model_version() const noexcept { return model_version_; }
    std::string_view id() const noexcept { return id_; }
    const SequenceWords& sequence() const noexcept { return sequence_; }
    // Whether the request says anything of a sequence.
    bool has_sequence() const noexcept { return sequence_seen_ != 0; }
    std::span<const std::int64_t> first_shape() const noexcept { return inputs_[0].dimensions(); }

    // `regions`: what clients registered; nullptr: a request that names a region is declined.
    DecodeOutcome check(const Signature& signature, const RegionTable* regions) noexcept;

    // After an accepted `check`: bytes that `fill` appends at most.
    std::uint64_t block_bytes() const noexcept;

    // Into a builder on which `begin` was called. `accepted`: the message is finished.
    DecodeOutcome fill(MessageBuilder& builder) const noexcept;

    // As above, for a message that was scanned in the builder's block, behind what is appended.
    std::uint64_t block_bytes_in_place() const noexcept;
    DecodeOutcome fill_in_place(MessageBuilder& builder) const noexcept;

    // Bytes before the first tensor's, when `beginning` shows that the message's other fields stand
    // before it, as all encoders write them; nothing otherwise.
    static std::optional<std::uint32_t> bytes_before_tensors(std::string_view beginning) noexcept;
    // Bytes that `fill_in_place` appends at most for a message with so many before its tensors.
    static std::uint64_t in_place_bound(std::uint32_t bytes_before_tensors) noexcept;

private:
    struct Input {
        std::string_view name;
        std::string_view data;
        Datatype datatype = Datatype::invalid;
        std::uint8_t rank = 0;
        bool in_region = false;
        RegionUse use;
        RegionPiece region;  // id 0: in none
        std::array<std::int64_t, kMaxRank> shape;

        std::span<const std::int64_t> dimensions() const noexcept { return {shape.data(), rank}; }
    };

    struct Output {
        std::string_view name;
        bool in_region = false;
        RegionUse use;
        RegionPiece region;
    };

    void forget() noexcept;
    bool spread_data() noexcept;
    static DecodeOutcome read_use(ProtoReader& reader, ProtoWire wire, RegionUse& use,
                                  std::uint32_t& seen) noexcept;
    static DecodeOutcome check_input(Input& input, const RegionTable* regions) noexcept;
    DecodeOutcome fill_all(MessageBuilder& builder, const std::uint64_t* shifts) const noexcept;
    DecodeOutcome scan_field(ProtoReader& reader, std::uint32_t& seen) noexcept;
    DecodeOutcome add_parameter(std::string_view entry) noexcept;
    DecodeOutcome read_sequence_id(ProtoReader& value) noexcept;
    DecodeOutcome read_flag(ProtoReader& value, std::uint32_t flag) noexcept;
    DecodeOutcome add_input(std::string_view message) noexcept;
    DecodeOutcome add_output(std::string_view message) noexcept;
    DecodeOutcome add_data(std::string_view data) noexcept;
    DecodeOutcome read_dimensions(Input& input, ProtoReader& reader, ProtoWire wire) noexcept;

    std::string_view model_name_;
    std::string_view model_version_;
    std::string_view id_;
    SequenceWords sequence_;
    std::uint32_t sequence_seen_ = 0;  // a bit for each of its parameters
    std::uint32_t input_count_ = 0;
    std::uint32_t output_count_ = 0;
    std::uint32_t data_count_ = 0;
    std::array<Input, kMaxInputs> inputs_;
    std::array<std::string_view, kMaxInputs> data_;
    std::array<Output, kMaxOutputs> outputs_;
};

}  // namespace mpserve
