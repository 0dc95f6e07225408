// Checks what a request names against a model's signature, one input or output after another.
//
// Guarantees: `accepted` for all inputs and `finish` mean: names are known and not repeated,
// required
//   ones are there, datatypes and shapes fit, batches are equal and not too large. No allocation.
// Assumes: the names and the signature outlive the check.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "mpserve/datatype.hpp"
#include "mpserve/decode_outcome.hpp"
#include "mpserve/signature.hpp"

namespace mpserve {

class SignatureCheck {
public:
    static constexpr std::size_t kMaxNames = 64;  // of inputs, and of outputs

    explicit SignatureCheck(const Signature& signature) noexcept : signature_(signature) {}

    DecodeOutcome add_input(std::string_view name, Datatype datatype,
                            std::span<const std::int64_t> shape) noexcept;
    DecodeOutcome add_output(std::string_view name) noexcept;
    // After the last input: whether a required one is missing.
    DecodeOutcome finish() const noexcept;

private:
    DecodeOutcome check_batch(std::span<const std::int64_t> shape) noexcept;

    const Signature& signature_;
    std::uint32_t input_count_ = 0;
    std::uint32_t output_count_ = 0;
    std::uint32_t required_seen_ = 0;
    std::uint64_t inputs_seen_ = 0;  // a bit for each spec
    std::int64_t rows_ = 0;          // of the first input, when the model batches
    // Not initialised: only the counted ones are read.
    struct Name {
        const char* text;
        std::size_t bytes;
    };
    using Names = std::array<Name, kMaxNames>;
    static bool has_name(const Names& names, std::uint32_t count, std::string_view name) noexcept;
    Names input_names_;
    Names output_names_;
};

}  // namespace mpserve
