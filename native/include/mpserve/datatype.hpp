// Element types of tensors. The numbers are Triton's `DataType`, shared with
// `mpserve.model.tensor`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mpserve {

enum class Datatype : std::uint8_t {
    invalid = 0,
    boolean = 1,
    uint8 = 2,
    uint16 = 3,
    uint32 = 4,
    uint64 = 5,
    int8 = 6,
    int16 = 7,
    int32 = 8,
    int64 = 9,
    fp16 = 10,
    fp32 = 11,
    fp64 = 12,
    bytes = 13,
    bf16 = 14,
};

inline constexpr std::uint8_t kDatatypeCount = 15;

// At namespace scope: in the functions they would be built on the stack at each call.
inline constexpr std::uint8_t kDatatypeItemBytes[kDatatypeCount] = {0, 1, 1, 2, 4, 8, 1, 2,
                                                                    4, 8, 2, 4, 8, 0, 2};
inline constexpr std::string_view kDatatypeNames[kDatatypeCount] = {
    "INVALID", "BOOL",  "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16",
    "INT32",   "INT64", "FP16",  "FP32",   "FP64",   "BYTES",  "BF16"};

// Bytes of one element; 0 for `bytes`, whose elements vary, and for `invalid`.
constexpr std::size_t item_bytes(Datatype datatype) noexcept {
    const auto index = static_cast<std::uint8_t>(datatype);
    return index < kDatatypeCount ? kDatatypeItemBytes[index] : 0;
}

// Protocol word, e.g. "FP32".
constexpr std::string_view datatype_name(Datatype datatype) noexcept {
    const auto index = static_cast<std::uint8_t>(datatype);
    return index < kDatatypeCount ? kDatatypeNames[index] : kDatatypeNames[0];
}

// `invalid` for a word that is none.
constexpr Datatype datatype_from_name(std::string_view name) noexcept {
    for (std::uint8_t index = 1; index < kDatatypeCount; ++index) {
        if (kDatatypeNames[index] == name) return static_cast<Datatype>(index);
    }
    return Datatype::invalid;
}

}  // namespace mpserve
