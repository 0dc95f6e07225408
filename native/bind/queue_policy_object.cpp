#include "queue_policy_object.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

LevelPolicy read_level(nb::handle policy, std::uint64_t level) {
    return {.level = level,
            .timeout_us = nb::cast<std::uint64_t>(policy.attr("default_timeout_us")),
            .max_waiting = nb::cast<std::uint32_t>(policy.attr("max_queue_size")),
            .may_shorten = nb::cast<bool>(policy.attr("allow_timeout_override")),
            .delays = nb::cast<bool>(policy.attr("delay_on_timeout"))};
}

}  // namespace

QueuePolicy read_policy(nb::handle policies) {
    if (policies.is_none()) return {};
    QueuePolicy policy{.levels = nb::cast<std::uint64_t>(policies.attr("priority_levels")),
                       .default_level = nb::cast<std::uint64_t>(policies.attr("default_level")),
                       .general = read_level(policies.attr("general"), 0),
                       .particular = {}};
    for (auto [level, particular] : nb::cast<nb::dict>(policies.attr("by_level"))) {
        policy.particular.push_back(read_level(particular, nb::cast<std::uint64_t>(level)));
    }
    return policy;
}

}  // namespace mpserve::bind
