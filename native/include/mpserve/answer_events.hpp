// CloudEvents fields of an answer to an inference: those that are its own, beside those that all
// answers of a server have.
//
// Guarantees: a value that `fits_a_head` can not end its field early, in HTTP and in gRPC.
// Source: MLServer 1.7.1 as seen running; CloudEvents 0.3, HTTP binding.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "mpserve/header_pairs.hpp"

namespace mpserve {

// Clients choose ids. Parameters of a streamed answer take any; a head leaves out what is not one
// word of ASCII.
inline bool fits_a_head(std::string_view value) noexcept {
    constexpr std::size_t kMaxBytes = 1024;
    return !value.empty() && value.size() <= kMaxBytes &&
           std::ranges::all_of(value, [](char one) { return one > ' ' && one < 0x7f; });
}

// One without a value is not there.
inline std::array<HeaderPair, 4> own_events(std::string_view model_name,
                                            std::string_view id) noexcept {
    return {{{"Ce-Modelid", model_name},
             {"Ce-Endpoint", model_name},
             {"Ce-Id", id},
             {"Ce-Requestid", id}}};
}

// Appends `pairs` of such fields as they stand in the trailing metadata of a call.
inline void append_events(std::string& out, std::string_view pairs) {
    HeaderPairs all(pairs);
    while (const auto pair = all.next()) {
        if (fits_a_head(pair->value)) append_lowered(out, *pair);
    }
}

}  // namespace mpserve
