// A frontend's part of the model queue: push, take back, mark as unwanted.

#include "mpserve/model_queue.hpp"

#include <bit>

#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

// Whether the level of the request has as many as it may.
bool ModelQueue::is_level_full(const QueuePush& push) const noexcept {
    if (push.max_waiting == 0 || header_->wait_count < push.max_waiting) return false;
    const auto level = push.request.level;
    std::uint32_t waiting = 0;
    for (auto index = header_->wait_tail; index != kNoSlot; index = slots_[index].previous) {
        if (slots_[index].request.level < level) break;
        if (slots_[index].request.level == level && ++waiting == push.max_waiting) return true;
    }
    return false;
}

PushOutcome ModelQueue::push(std::span<QueuePush> requests, std::uint32_t frontend,
                             std::uint32_t frontend_epoch, std::uint32_t ring, std::uint64_t now,
                             WakeRule rule) noexcept {
    PushOutcome outcome{};
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        if (header_->retired != 0) return {.handled = 0, .retired = true, .full = false};
        if (is_due(header_->next_deadline_ns, now)) sweep_deadlines(now);
        std::uint32_t pushed = 0;
        for (auto& push : requests) {
            push.refused = is_level_full(push);
            if (push.refused) {
                ++outcome.handled;
                continue;
            }
            const auto& request = push.request;
            const auto index = take_free();
            if (index == kNoSlot) {
                outcome.full = true;
                picked |= release_gatherer();
                header_->starved_rings |= std::uint64_t{1} << ring;
                break;
            }
            auto& slot = slots_[index];
            slot.frontend = frontend;
            slot.frontend_epoch = frontend_epoch;
            slot.ring = ring;
            slot.sequence = header_->next_sequence++;
            slot.enqueued_ns = now;
            slot.request = request;
            slot.delayed = 0;
            slot.cancelled.store(0, std::memory_order_relaxed);
            slot.input.store(kNoInput, std::memory_order_relaxed);
            set_state(slot, SlotState::waiting);  // COMMIT; killed before: the slot is free
            enqueue(index);
            ++outcome.handled;
            ++pushed;
            if (ends_gathering(request)) picked |= release_gatherer();
        }
        if (picked == 0) {
            picked = rule == WakeRule::all ? pick_for(pushed)
                                           : pick_worth(pushed, now, outcome.unattended);
        }
        outcome.taken = header_->taken;
        outcome.instances = static_cast<std::uint32_t>(std::popcount(header_->active_mask));
    }
    wake(picked);
    return outcome;
}

std::uint32_t ModelQueue::find_taken_back(std::uint64_t token, std::uint32_t frontend,
                                          std::uint32_t frontend_epoch) const noexcept {
    const auto is_it = [&](const QueueSlot& slot) {
        return slot.request.token == token && slot.frontend == frontend &&
               slot.frontend_epoch == frontend_epoch;
    };
    for (auto index = header_->wait_head; index != kNoSlot; index = slots_[index].next) {
        if (is_it(slots_[index])) return index;
    }
    if (header_->expired_count == 0) return kNoSlot;
    for (std::uint32_t index = 0; index < slot_count_; ++index) {
        const auto& slot = slots_[index];
        if (state_of(slot) == SlotState::expired && is_it(slot)) return index;
    }
    return kNoSlot;
}

bool ModelQueue::cancel(std::uint64_t token, std::uint32_t frontend, std::uint32_t frontend_epoch,
                        std::uint64_t now) noexcept {
    bool found = false;
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        const auto index = find_taken_back(token, frontend, frontend_epoch);
        found = index != kNoSlot;
        if (found && state_of(slots_[index]) == SlotState::expired) {
            put_free(index);
            --header_->expired_count;
        } else if (found) {
            if (sequences_) picked |= end_sequence_of(index, SequenceVerdict::cancelled, now);
            dequeue(index);
            put_free(index);
            picked |= release_gatherer();  // it counted on this one
        }
        // Who waits for the slot is told by an instance that looks.
        if (found && header_->starved_rings != 0) picked |= pick_idle(1);
    }
    wake(picked);
    return found;
}

void ModelQueue::mark_cancelled(std::uint64_t token, std::uint32_t frontend,
                                std::uint32_t frontend_epoch) noexcept {
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        for (std::uint32_t index = 0; index < slot_count_; ++index) {
            auto& slot = slots_[index];
            if (state_of(slot) == SlotState::running && slot.request.token == token &&
                slot.frontend == frontend && slot.frontend_epoch == frontend_epoch) {
                slot.cancelled.store(1, std::memory_order_relaxed);
                // One that waits for requests of a stream is told now.
                instances_[slot.instance].wake_word.fetch_add(1, std::memory_order_release);
                picked = bit_of(slot.instance);
                if (sequences_)
                    picked |= end_sequence_of(index, SequenceVerdict::cancelled, now_ns());
                break;
            }
        }
    }
    wake(picked);
}

bool ModelQueue::give_input(std::uint32_t index, std::uint64_t token, std::uint32_t frontend,
                            std::uint32_t frontend_epoch, std::uint64_t input) noexcept {
    if (index >= slot_count_) return false;
    std::uint32_t instance = 0;
    {
        // The lock keeps the slot from being given to another request meanwhile.
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        auto& slot = slots_[index];
        if (state_of(slot) != SlotState::running || slot.request.token != token ||
            slot.frontend != frontend || slot.frontend_epoch != frontend_epoch) {
            return false;
        }
        auto expected = kNoInput;
        if (!slot.input.compare_exchange_strong(expected, input, std::memory_order_acq_rel)) {
            return false;
        }
        instance = slot.instance;
        instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
    }
    futex_wake(instances_[instance].wake_word);
    return true;
}

}  // namespace mpserve
