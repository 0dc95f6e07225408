// How many frames that cost the server more than their sender a connection may send: resets,
// settings, empty data, ... A client that behaves never meets the limit.
//
// A bucket of tokens: each such frame takes one, time and finished calls put some back.
//
// Guarantees: at most `kBurst` frames at once, and `kPerSecond` a second in the long run, besides
//   one for each call that was answered. No allocation.
// Assumes: `now_ns` does not go back.
// Owner: a connection.
// Source: CVE-2023-44487 (rapid reset), CVE-2019-9512 to 9518, CVE-2024-28182 (continuation flood).
#pragma once

#include <algorithm>
#include <cstdint>

namespace mpserve {

class FrameBudget {
public:
    static constexpr std::uint32_t kBurst = 1000;
    static constexpr std::uint64_t kPerSecond = 100;

    // False when the connection sent too many.
    bool spend(std::uint64_t now_ns) noexcept {
        if (last_ns_ == 0) last_ns_ = now_ns;
        const auto earned = (now_ns - last_ns_) / kNsPerToken;
        last_ns_ += earned * kNsPerToken;
        tokens_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(tokens_ + earned, kBurst));
        if (tokens_ == 0) return false;
        --tokens_;
        return true;
    }
    void earn() noexcept { tokens_ = std::min(tokens_ + 1, kBurst); }

private:
    static constexpr std::uint64_t kNsPerToken = 1'000'000'000 / kPerSecond;
    std::uint32_t tokens_ = kBurst;
    std::uint64_t last_ns_ = 0;
};

}  // namespace mpserve
