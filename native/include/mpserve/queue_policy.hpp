// What a model's queue does with a request: its level, how long it may wait, and what then. Pure.
//
// Guarantees: the same request at the same moment is placed in the same way by every frontend, so
//   that the queue itself needs no policy.
// Source: Triton's `ModelQueuePolicy` and priority levels, as specified: without levels there is
//   one; a priority of 0 or beyond the levels is the default one; a request may only shorten the
//   time that its policy allows.
#pragma once

#include <cstdint>
#include <vector>

#include "mpserve/model_queue.hpp"

namespace mpserve {

struct LevelPolicy {
    std::uint64_t level = 0;        // the one it is for
    std::uint64_t timeout_us = 0;   // 0: none
    std::uint32_t max_waiting = 0;  // 0: no limit
    bool may_shorten = false;       // requests bring time-outs of their own
    bool delays = false;            // when the time is over: behind all others instead of refused
};

struct Placement {
    std::uint64_t level = 0;
    std::uint64_t deadline_ns = 0;  // 0: none
    std::uint32_t max_waiting = 0;
    OnTimeout on_timeout = OnTimeout::reject;

    // Its client waits only until then (0: for ever): what waits longer is refused, unless it was
    // delayed before.
    void end_by(std::uint64_t client_deadline_ns) noexcept {
        if (client_deadline_ns == 0) return;
        if (deadline_ns != 0 && deadline_ns <= client_deadline_ns) return;
        deadline_ns = client_deadline_ns;
        on_timeout = OnTimeout::reject;
    }
};

struct QueuePolicy {
    std::uint64_t levels = 0;  // 0: there are no levels
    std::uint64_t default_level = 0;
    LevelPolicy general;                  // of all levels but
    std::vector<LevelPolicy> particular;  // these

    Placement place(std::uint64_t priority, std::uint64_t timeout_us,
                    std::uint64_t now) const noexcept;
};

}  // namespace mpserve
