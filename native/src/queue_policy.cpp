#include "mpserve/queue_policy.hpp"

#include <algorithm>

namespace mpserve {

namespace {

constexpr std::uint64_t kLongestUs = 31'536'000'000'000;  // a year: no sum with a clock overflows

}  // namespace

Placement QueuePolicy::place(std::uint64_t priority, std::uint64_t timeout_us,
                             std::uint64_t now) const noexcept {
    Placement placement;
    if (levels != 0) {
        placement.level = priority == 0 || priority > levels ? default_level : priority;
    }
    const auto found = std::find_if(particular.begin(), particular.end(),
                                    [&](const auto& one) { return one.level == placement.level; });
    const auto& policy = found == particular.end() ? general : *found;
    auto allowed_us = policy.timeout_us;
    if (policy.may_shorten && timeout_us != 0) allowed_us = std::min(allowed_us, timeout_us);
    if (allowed_us != 0) placement.deadline_ns = now + std::min(allowed_us, kLongestUs) * 1'000;
    placement.max_waiting = policy.max_waiting;
    placement.on_timeout = policy.delays ? OnTimeout::delay : OnTimeout::reject;
    return placement;
}

}  // namespace mpserve
