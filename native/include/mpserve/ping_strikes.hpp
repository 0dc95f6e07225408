// Pings of a client that come too often: each is a strike, and past some the client has to go.
//
// Guarantees: a client that pings no more often than allowed never gets a strike; what the server
//   sends in between wipes them out, because clients measure the line with pings then.
// Owner: a connection.
// Source: gRPC's proposal A8 and channel arguments "http2.max_ping_strikes", "http2.min_ping_...".
#pragma once

#include <cstdint>

namespace mpserve {

class PingStrikes {
public:
    struct Limits {
        std::uint64_t min_interval_ns = 0;
        std::uint32_t max_strikes = 0;  // 0: any number
        bool permit_without_calls = false;
    };

    // A ping came at `now_ns`, while calls were open or not. False: it was one too many.
    bool on_ping(std::uint64_t now_ns, bool has_calls, const Limits& limits) noexcept {
        constexpr std::uint64_t kIdleIntervalNs = 7200ull * 1'000'000'000;
        const auto interval =
            has_calls || limits.permit_without_calls ? limits.min_interval_ns : kIdleIntervalNs;
        const bool is_early = last_ns_ != 0 && now_ns - last_ns_ < interval;
        last_ns_ = now_ns;
        if (!is_early) return true;
        ++strikes_;
        return limits.max_strikes == 0 || strikes_ <= limits.max_strikes;
    }
    // The server sent headers or data.
    void forgive() noexcept {
        strikes_ = 0;
        last_ns_ = 0;
    }

private:
    std::uint64_t last_ns_ = 0;  // 0: none to compare with
    std::uint32_t strikes_ = 0;
};

}  // namespace mpserve
