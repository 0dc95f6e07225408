// A frontend's part of the model queue: push, take back, mark as unwanted.

#include "mpserve/model_queue.hpp"

#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

PushOutcome ModelQueue::push(std::span<const QueueRequest> requests, std::uint32_t frontend,
                             std::uint32_t frontend_epoch, std::uint32_t ring) noexcept {
    const auto now = now_ns();
    PushOutcome outcome{};
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        if (header_->retired != 0) return {.pushed = 0, .retired = true, .full = false};
        for (const auto& request : requests) {
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
            slot.cancelled.store(0, std::memory_order_relaxed);
            set_state(slot, SlotState::waiting);  // COMMIT; killed before: the slot is free
            enqueue(index);
            ++outcome.pushed;
            if (ends_gathering(request)) picked |= release_gatherer();
        }
        if (picked == 0) picked = pick_for(outcome.pushed);
    }
    wake(picked);
    return outcome;
}

bool ModelQueue::cancel(std::uint64_t token, std::uint32_t frontend,
                        std::uint32_t frontend_epoch) noexcept {
    bool found = false;
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        for (auto index = header_->wait_head; index != kNoSlot; index = slots_[index].next) {
            const auto& slot = slots_[index];
            if (slot.request.token != token || slot.frontend != frontend ||
                slot.frontend_epoch != frontend_epoch) {
                continue;
            }
            if (sequences_) picked |= end_sequence_of(index, SequenceVerdict::cancelled);
            dequeue(index);
            put_free(index);
            picked |= release_gatherer();  // it counted on this one
            found = true;
            break;
        }
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
                if (sequences_) picked = end_sequence_of(index, SequenceVerdict::cancelled);
                break;
            }
        }
    }
    wake(picked);
}

}  // namespace mpserve
