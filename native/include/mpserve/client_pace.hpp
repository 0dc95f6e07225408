// How much time and how many places clients have, and whether one keeps up.
//
// Guarantees: a client that moves `kLeastBytesPerSecond`, or ends what it began within a window, is
//   never too slow; one that does neither is found within two windows. No clock is read: whoever
//   looks, about once a second, brings the time.
// Owner: a connection, or a call of one.
// Source: RFC 9112, 9.5 (time-outs); the limits of Apache's mod_reqtimeout.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mpserve {

struct ClientLimits {
    std::size_t max_connections = SIZE_MAX / 2;  // of a frontend, each protocol
    // Nanoseconds; 0: for ever.
    std::uint64_t receive_ns = 0;  // for a head; for a body the window of its rate
    std::uint64_t send_ns = 0;     // the window of the rate at which answers are read
    std::uint64_t idle_ns = 0;     // between requests
};

// Connections past the limit that are told so; more are cut off.
inline constexpr std::size_t kRefusedAtOnce = 256;

class PaceWindow {
public:
    static constexpr std::uint64_t kLeastBytesPerSecond = 1024;

    // Nothing is waited for now.
    void stop() noexcept { since_ns_ = 0; }

    // `what` is waited for, `moved_bytes` have moved until now. True when since the window's begin
    // nothing else was waited for, and less moved than the least that may. A `window_ns` of 0 is
    // for ever.
    bool is_too_slow(std::uint64_t now_ns, std::uint64_t what, std::uint64_t moved_bytes,
                     std::uint64_t window_ns) noexcept {
        constexpr std::uint64_t kSecond = 1'000'000'000;
        return has_passed(now_ns, what, moved_bytes, window_ns,
                          window_ns / kSecond * kLeastBytesPerSecond);
    }
    // The same without a rate: any byte is enough.
    bool is_still(std::uint64_t now_ns, std::uint64_t what, std::uint64_t moved_bytes,
                  std::uint64_t window_ns) noexcept {
        if (moved_bytes != from_bytes_) since_ns_ = 0;
        return has_passed(now_ns, what, moved_bytes, window_ns, 1);
    }

private:
    bool has_passed(std::uint64_t now_ns, std::uint64_t what, std::uint64_t moved_bytes,
                    std::uint64_t window_ns, std::uint64_t least_bytes) noexcept {
        if (window_ns == 0) return false;
        if (since_ns_ == 0 || what != what_) {
            begin(now_ns, what, moved_bytes);
            return false;
        }
        if (now_ns - since_ns_ < window_ns) return false;
        const bool is_less = moved_bytes - from_bytes_ < least_bytes;
        begin(now_ns, what, moved_bytes);
        return is_less;
    }
    void begin(std::uint64_t now_ns, std::uint64_t what, std::uint64_t moved_bytes) noexcept {
        since_ns_ = now_ns;
        what_ = what;
        from_bytes_ = moved_bytes;
    }

    std::uint64_t since_ns_ = 0;  // 0: nothing is waited for
    std::uint64_t what_ = 0;
    std::uint64_t from_bytes_ = 0;
};

}  // namespace mpserve
