// Who of the model queue's participants is woken for what.

#include "mpserve/model_queue.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

std::uint64_t ModelQueue::take_starved() noexcept {
    const auto starved = header_->starved_rings;
    header_->starved_rings = 0;
    return starved;
}

// Of these instances, of which there is one, who holds the fewest requests; of equals the lowest:
// the warm one gets the work.
std::uint32_t ModelQueue::least_laden(std::uint64_t instances) const noexcept {
    auto chosen = static_cast<std::uint32_t>(std::countr_zero(instances));
    for (auto left = instances; left != 0 && instances_[chosen].holds != 0; left &= left - 1) {
        const auto instance = static_cast<std::uint32_t>(std::countr_zero(left));
        if (instances_[instance].holds < instances_[chosen].holds) chosen = instance;
    }
    return chosen;
}

// Chooses up to `wanted` idle instances.
std::uint64_t ModelQueue::pick_idle(std::uint32_t wanted) noexcept {
    std::uint64_t picked = 0;
    for (; wanted > 0 && header_->idle_mask != 0; --wanted) {
        const auto instance = least_laden(header_->idle_mask);
        header_->idle_mask &= ~bit_of(instance);
        picked |= bit_of(instance);
        instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
    }
    return picked;
}

// As many as `requests` can keep busy; should they make more batches, the first who comes wakes
// others.
std::uint64_t ModelQueue::pick_for(std::uint32_t requests) noexcept {
    if (requests == 0 || header_->idle_mask == 0 || header_->gatherer != 0) return 0;
    const auto& idle = instances_[std::countr_zero(header_->idle_mask)];
    const auto batch = std::max(idle.max_requests, std::uint32_t{1});
    return pick_idle((requests - 1) / batch + 1);
}

// Those that will look for work soon, by themselves or because they were called for.
std::uint64_t ModelQueue::count_awake(std::uint64_t now) const noexcept {
    std::uint64_t awake = 0;
    for (auto left = header_->active_mask & ~header_->idle_mask; left != 0; left &= left - 1) {
        const auto& entry = instances_[std::countr_zero(left)];
        if (moment_of(now) - entry.moved_at < kStuckMoments) ++awake;
    }
    return awake;
}

std::uint64_t ModelQueue::pick_worth(std::uint32_t requests, std::uint64_t now,
                                     bool& unattended) noexcept {
    if (requests == 0 || header_->idle_mask == 0) return 0;
    const auto& idle = instances_[std::countr_zero(header_->idle_mask)];
    const auto usual_ns = header_->usual_ns;
    if (idle.max_requests > 1 || usual_ns == 0 || usual_ns > kQuickNs) return pick_for(requests);
    const auto awake = count_awake(now);
    const auto worth = header_->wait_count * usual_ns / kWorthNs + 1;
    const auto more = std::min<std::uint64_t>(requests, worth > awake ? worth - awake : 0);
    const auto picked = pick_idle(static_cast<std::uint32_t>(more));
    for (auto left = picked; left != 0; left &= left - 1) {
        instances_[std::countr_zero(left)].moved_at = moment_of(now);
    }
    unattended = more < requests && header_->idle_mask != 0;
    return picked;
}

Attention ModelQueue::attend(std::uint64_t taken_before) noexcept {
    std::uint64_t picked = 0;
    Attention attention{};
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        attention = {.waits = header_->wait_count != 0, .taken = header_->taken};
        if (header_->taken == taken_before) picked = pick_for(header_->wait_count);
    }
    wake(picked);
    return attention;
}

// Steps up and down by the same part, so that it comes to rest where half of them take longer: a
// few that were interrupted do not count.
void ModelQueue::note_execution(std::span<const std::uint32_t> done, std::uint32_t instance,
                                std::uint64_t now) noexcept {
    if (done.empty() || done[0] >= slot_count_) return;
    const auto& slot = slots_[done[0]];
    if (state_of(slot) != SlotState::running || slot.instance != instance) return;
    const auto took_ns = (now - std::min(now, slot.popped_ns)) / done.size();
    auto& usual_ns = header_->usual_ns;
    if (usual_ns == 0) {
        usual_ns = took_ns + 1;
    } else if (took_ns > usual_ns) {
        usual_ns += usual_ns / 4 + 1;
    } else {
        usual_ns -= usual_ns / 4;
    }
}

// Whether the instance that gathers has, with this request, something to do.
bool ModelQueue::ends_gathering(const QueueRequest& request) noexcept {
    if (header_->gatherer == 0) return false;
    auto& entry = instances_[header_->gatherer - 1];
    entry.missing_rows -= std::min(entry.missing_rows, request.rows);
    return entry.missing_rows == 0 || request.shape_digest != entry.gathered_digest;
}

// From here it is on its way, like an idle instance that was picked.
std::uint64_t ModelQueue::release_gatherer() noexcept {
    if (header_->gatherer == 0) return 0;
    const auto instance = header_->gatherer - 1;
    header_->gatherer = 0;
    instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
    return bit_of(instance);
}

std::uint64_t ModelQueue::release_ordered() noexcept {
    const auto released = std::exchange(header_->ordered_mask, 0);
    for (auto left = released; left != 0; left &= left - 1) {
        instances_[std::countr_zero(left)].wake_word.fetch_add(1, std::memory_order_release);
    }
    return released;
}

void ModelQueue::wake(std::uint64_t picked) noexcept {
    for (; picked != 0; picked &= picked - 1) {
        futex_wake(instances_[std::countr_zero(picked)].wake_word);
    }
}

void ModelQueue::stay_busy(std::uint32_t instance) noexcept {
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        header_->idle_mask &= ~bit_of(instance);
        if (header_->gatherer == instance + 1) header_->gatherer = 0;
        // It may have been woken for a request that it now leaves to the others.
        picked = pick_for(header_->wait_count);
    }
    wake(picked);
}

void ModelQueue::wake_all() noexcept {
    for (std::uint32_t instance = 0; instance < kMaxInstances; ++instance) {
        instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
        futex_wake(instances_[instance].wake_word);
    }
}

}  // namespace mpserve
