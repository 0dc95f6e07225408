// What one of several models may have of what they share: places of a ring, bytes of an arena.
//
// Guarantees: however many take all that they may, some is left for one more. Who holds more gives
//   way, and never so much that it holds less than the one that it gave way to.
// Source: docs/adr/0033-places-in-queues.md. The first rule is known as a dynamic threshold, the
//   second as pushing out of the longest queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpserve/model_queue.hpp"

namespace mpserve {

// What one that has `own` may have besides, when `free` is left: as much as stays free then.
constexpr std::uint64_t share_left(std::uint64_t free, std::uint64_t own) noexcept {
    return free > own ? (free - own + 1) / 2 : 0;
}

// Bytes of requests that were accepted and not answered.
struct BytesInFlight {
    std::uint64_t all = 0;
    std::uint64_t unpushed = 0;  // of them: those that wait in their frontend

    std::uint64_t pushed() const noexcept { return all - unpushed; }
};

// How many of the next pushes fit into `left` bytes; `at_least` go in any case.
std::size_t fitting(std::span<const QueuePush> next, std::uint64_t left,
                    std::size_t at_least) noexcept;

// A request that waits and could give its block to another model's.
struct Waiting {
    std::uint64_t token = 0;
    std::uint64_t bytes = 0;    // of its block
    std::uint64_t came_ns = 0;  // the last goes first
    const void* model = nullptr;
    std::uint64_t held = 0;  // bytes of all requests of its model
};

// Which of them give way so that `lacking` bytes come free for a request after which its model
// holds `wanting`. Nobody when that is not enough.
std::vector<std::uint64_t> who_give_way(std::vector<Waiting> waiting, std::uint64_t lacking,
                                        std::uint64_t wanting);

}  // namespace mpserve
