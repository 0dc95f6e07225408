// Why the native codec took a request or left it to the Python codec: for tests and counters, not
// for clients. All but `accepted` mean "declined": Python then decides, and finds the error text.
#pragma once

#include <cstdint>
#include <string_view>

namespace mpserve {

enum class DecodeOutcome : std::uint8_t {
    accepted,
    json,       // not JSON, or not UTF-8
    structure,  // a member is missing, unknown, repeated or of another JSON type
    feature,    // valid but rare: priorities, shared memory, classification, ...
    name,       // unknown or repeated input or output, or a required one is missing
    datatype,   // not the signature's, unknown, or not possible in JSON (FP16, BF16)
    shape,      // does not fit the signature or the batch size, or overflows
    element,    // an element is of the wrong type or out of range
    count,      // more or fewer elements or bytes than the shape says
    limit,      // more inputs, dimensions, nesting or parameters than the fast path takes
    room,       // the block is too small
};

inline constexpr std::uint8_t kDecodeOutcomeCount = 11;

constexpr std::string_view decode_outcome_name(DecodeOutcome outcome) noexcept {
    constexpr std::string_view kNames[kDecodeOutcomeCount] = {
        "accepted", "json",    "structure", "feature", "name", "datatype",
        "shape",    "element", "count",     "limit",   "room"};
    return kNames[static_cast<std::uint8_t>(outcome)];
}

}  // namespace mpserve
