// Domain status of an operation. The numbers are shared with `mpserve.errors.ErrorCode`.
#pragma once

#include <cstdint>

namespace mpserve {

enum class Status : std::uint32_t {
    ok = 0,
    unknown = 1,
    internal = 2,
    invalid_argument = 3,
    not_found = 4,
    not_ready = 5,
    exhausted = 6,
    deadline = 7,
    cancelled = 8,
    unavailable = 9,
    unsupported = 10,
    already_exists = 11,
    load_failed = 12,
    model_failed = 13,
    malformed = 14,
};

inline constexpr std::uint32_t kStatusCount = 15;

}  // namespace mpserve
