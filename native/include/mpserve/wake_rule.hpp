// How many idle instances a push wakes, and who looks after what it woke nobody for.
//
// To wake an instance costs two switches of context and takes about 50 us: longer than a quick
// execution. Requests that those who are awake will have taken before it comes wake nobody. What an
// execution takes is guessed from those before (`QueueHeader::usual_ns`), and the guess may be
// wrong: the one that is awake may begin to compute for a second.
//
//     push(worth) ── unattended ──▶ kAttendNs later: attend(taken)
//                                     | nothing waits: done
//                                     | something was taken since: look again, kAttendNs later
//                                     | nothing was: wakes for all that waits, look again
//
// One that is awake and has not come for a millisecond or two is not counted on any more.
//
// Guarantees: an instance sleeps no longer than about a millisecond beside a request that nobody
//   has come for. Models whose executions usually take longer than `kQuickNs`, or are batches, wake
//   as with `all`.
// After a death: of the pusher: `ModelQueue::drop_frontend` wakes all. Of an instance that was
//   counted on: who reaps it wakes for all that waits.
#pragma once

#include <cstdint>

namespace mpserve {

enum class WakeRule {
    all,   // an instance for each request, as far as there are idle ones
    worth  // no more than pays; the pusher looks after what waits
};

inline constexpr std::uint64_t kQuickNs = 50'000;
inline constexpr std::uint64_t kWorthNs = 100'000;  // of work that waits, for each one awake
inline constexpr std::uint64_t kAttendNs = 1'000'000;

// Milliseconds, nearly; they go around after 52 days.
constexpr std::uint32_t moment_of(std::uint64_t ns) noexcept {
    return static_cast<std::uint32_t>(ns >> 20);
}
inline constexpr std::uint32_t kStuckMoments = 2;

struct Attention {
    bool waits;  // somebody waits: look again
    std::uint64_t taken;
};

}  // namespace mpserve
