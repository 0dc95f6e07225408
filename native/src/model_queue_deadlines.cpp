// What becomes of requests that waited too long. Deadlines are looked at under the lock, when the
// queue is pushed to or pulled from; a frontend that must answer in time has a timer of its own.

#include <algorithm>

#include "mpserve/model_queue.hpp"
#include "queue_slot.hpp"

namespace mpserve {

void ModelQueue::note_deadline(std::uint64_t deadline_ns) noexcept {
    auto& next = header_->next_deadline_ns;
    next = next == 0 ? deadline_ns : std::min(next, deadline_ns);
}

// It keeps its slot until its frontend, which alone knows what to answer, has collected it.
void ModelQueue::expire(std::uint32_t index) noexcept {
    dequeue(index);
    set_state(slots_[index], SlotState::expired);  // COMMIT; killed before: it waits, and expires
    ++header_->expired_count;
}

// Killed on the way: `repair` sorts it in again, where it stood or behind the others.
void ModelQueue::delay(std::uint32_t index) noexcept {
    dequeue(index);
    slots_[index].sequence = header_->next_sequence++;
    slots_[index].delayed = 1;
    enqueue(index);
}

void ModelQueue::sweep_deadlines(std::uint64_t now) noexcept {
    header_->next_deadline_ns = 0;
    auto index = header_->wait_head;
    while (index != kNoSlot) {
        const auto& slot = slots_[index];
        const auto next = slot.next;
        const auto deadline_ns = slot.delayed == 0 ? slot.request.deadline_ns : 0;
        if (!is_due(deadline_ns, now)) {
            if (deadline_ns != 0) note_deadline(deadline_ns);
        } else if (slot.request.on_timeout == static_cast<std::uint32_t>(OnTimeout::delay)) {
            delay(index);
        } else {
            expire(index);
        }
        index = next;
    }
}

}  // namespace mpserve
