// The supervisor's part of the model queue: retire, reap the dead, empty.

#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

void ModelQueue::retire() noexcept {
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        header_->retired = 1;
        header_->idle_mask = 0;
        header_->gatherer = 0;
    }
    wake_all();
}

void ModelQueue::retire_instance(std::uint32_t instance) noexcept {
    if (instance >= kMaxInstances) return;
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        set_instance(instance, InstanceState::retiring);
        // It may have been woken for a request that it now leaves to the others.
        picked = pick_for(header_->wait_count);
    }
    instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
    futex_wake(instances_[instance].wake_word);
    wake(picked);
}

bool ModelQueue::is_drained() noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    return header_->wait_count == 0 && header_->running_count == 0;
}

std::vector<PoppedRequest> ModelQueue::held_by(std::uint32_t instance, std::uint32_t epoch) {
    std::vector<PoppedRequest> held;
    held.reserve(slot_count_);  // no allocation inside the lock
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    for (std::uint32_t index = 0; index < slot_count_; ++index) {
        const auto& slot = slots_[index];
        if (state_of(slot) == SlotState::running && slot.instance == instance &&
            slot.instance_epoch == epoch) {
            held.push_back(popped_of(index, slot));
        }
    }
    return held;
}

void ModelQueue::release_reaped(std::uint32_t instance, std::uint32_t epoch,
                                std::span<const PoppedRequest> answered,
                                std::uint64_t& starved) noexcept {
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        for (const auto& request : answered) finish(request.slot, instance, now_ns());
        if (instances_[instance].epoch == epoch) set_instance(instance, InstanceState::absent);
        starved = take_starved();
        // The dead may have been the one that was woken for what waits, or that gathered it.
        picked = pick_for(header_->wait_count) | release_ordered();
    }
    wake(picked);
}

std::uint32_t ModelQueue::drop_frontend(std::uint32_t frontend,
                                        std::uint32_t frontend_epoch) noexcept {
    std::uint32_t dropped = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        for (std::uint32_t index = 0; index < slot_count_; ++index) {
            const auto& slot = slots_[index];
            if (slot.frontend != frontend || slot.frontend_epoch != frontend_epoch) continue;
            if (state_of(slot) == SlotState::waiting) {
                if (sequences_) end_unless_started(index);
                dequeue(index);
                put_free(index);
                ++dropped;
            } else if (state_of(slot) == SlotState::expired) {
                put_free(index);
                --header_->expired_count;
            }
        }
        header_->idle_mask = 0;
        header_->gatherer = 0;
    }
    wake_all();
    return dropped;
}

std::vector<PoppedRequest> ModelQueue::take_waiting() {
    std::vector<PoppedRequest> taken;
    taken.reserve(slot_count_);
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    if (sequences_) sequences_.end_all();
    while (header_->wait_head != kNoSlot) {
        const auto index = header_->wait_head;
        taken.push_back(popped_of(index, slots_[index]));
        dequeue(index);
        put_free(index);
    }
    return taken;
}

}  // namespace mpserve
