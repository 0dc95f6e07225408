// What a model queue shows of workers that send requests to models: who waits for what.

#include "mpserve/model_queue.hpp"
#include "queue_slot.hpp"

namespace mpserve {

void ModelQueue::tell_sent(std::uint32_t instance, std::uint32_t caller, std::uint32_t requests,
                           std::uint64_t waits_from_ns) noexcept {
    if (instance >= kMaxInstances) return;
    auto& entry = instances_[instance];
    // The change comes first and last: who reads the same number before and after read one state.
    entry.sent_changes.fetch_add(1, std::memory_order_acq_rel);
    entry.sent.store(std::uint64_t{caller} << 32 | requests, std::memory_order_relaxed);
    entry.waits_from_ns.store(waits_from_ns, std::memory_order_relaxed);
    entry.sent_changes.fetch_add(1, std::memory_order_acq_rel);
}

void ModelQueue::look(std::uint32_t first_caller_ring, std::vector<InstanceStanding>& instances,
                      std::vector<CallStanding>& calls) {
    instances.reserve(kMaxInstances);  // no allocation inside the lock
    calls.reserve(slot_count_);
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    std::uint64_t running = 0;
    for (std::uint32_t index = 0; index < slot_count_; ++index) {
        const auto& slot = slots_[index];
        const auto state = state_of(slot);
        if (state == SlotState::free) continue;
        if (state == SlotState::running) running |= bit_of(slot.instance);
        if (slot.ring < first_caller_ring) continue;
        calls.push_back(
            {.caller = slot.frontend,
             .token = slot.request.token,
             .waiting = state == SlotState::waiting,
             .instance = state == SlotState::running ? slot.instance : holder_of(index)});
    }
    for (std::uint32_t index = 0; index < kMaxInstances; ++index) {
        const auto& entry = instances_[index];
        if (entry.state == static_cast<std::uint32_t>(InstanceState::absent)) continue;
        instances.push_back(
            {.instance = index,
             .active = entry.state == static_cast<std::uint32_t>(InstanceState::active),
             .busy = (running & ~header_->idle_mask & bit_of(index)) != 0,
             .sent = entry.sent.load(std::memory_order_relaxed),
             .sent_changes = entry.sent_changes.load(std::memory_order_acquire),
             .waits_from_ns = entry.waits_from_ns.load(std::memory_order_relaxed)});
    }
}

// The one instance that may take a request that waits: that of its sequence.
std::uint32_t ModelQueue::holder_of(std::uint32_t index) const noexcept {
    if (!sequences_) return kNoSlot;
    const auto& entry = sequences_.entry(sequences_.slot(index).entry);
    const bool is_held = entry.state.load(std::memory_order_relaxed) ==
                         static_cast<std::uint32_t>(SequenceState::active);
    return is_held ? entry.instance : kNoSlot;
}

}  // namespace mpserve
