#include "mpserve/model_queue.hpp"

#include <algorithm>

#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

bool ModelQueue::format(Segment segment, std::uint32_t slots, std::uint64_t generation,
                        const SequenceRule& sequences, const LatencyRule* latencies) noexcept {
    const bool keeps_latencies = latencies != nullptr;
    if (slots == 0 || slots >= kNoSlot ||
        segment.bytes() < required_bytes(slots, sequences, keeps_latencies))
        return false;
    auto* header = segment.at<QueueHeader>(0);
    header->slot_count = slots;
    header->generation = generation;
    header->next_sequence = 1;
    if (!header->mutex.initialise()) return false;
    if (keeps_latencies) {
        header->latencies_offset = latencies_offset(slots, sequences);
        auto* table = segment.at<LatencyTable>(header->latencies_offset);
        if (table == nullptr) return false;
        table->format(*latencies);
    }
    if (!SequenceTable().format(segment, sequences_offset(slots), slots, sequences)) return false;
    segment.format(SegmentKind::queue);
    if (!attach(segment)) return false;
    repair();
    return true;
}

bool ModelQueue::attach(Segment segment) noexcept {
    if (segment.check(SegmentKind::queue) != kLayoutVersion) return false;
    header_ = segment.at<QueueHeader>(0);
    if (header_ == nullptr) return false;
    slot_count_ = header_->slot_count;
    instances_ = segment.at<InstanceEntry>(sizeof(QueueHeader), kMaxInstances);
    frontends_ = segment.at<FrontendCounters>(kFrontendsOffset, kMaxRings);
    batches_ = segment.at<BatchRow>(kBatchesOffset, kBatchRows);
    responses_ = segment.at<ResponseRow>(kResponsesOffset, kResponseRows);
    slots_ = segment.at<QueueSlot>(kSlotsOffset, slot_count_);
    latencies_ = header_->latencies_offset == 0
                     ? nullptr
                     : segment.at<LatencyTable>(header_->latencies_offset);
    if (slots_ != nullptr &&
        sequences_.attach(segment, sequences_offset(slot_count_), slots_, slot_count_)) {
        chosen_.reserve(slot_count_);
    }
    return instances_ != nullptr && frontends_ != nullptr && batches_ != nullptr &&
           responses_ != nullptr && slots_ != nullptr;
}

// Rebuilds every list and count from the slots' states.
void ModelQueue::repair() noexcept {
    header_->free_head = kNoSlot;
    header_->wait_head = header_->wait_tail = kNoSlot;
    header_->wait_count = header_->running_count = header_->expired_count = 0;
    header_->next_deadline_ns = 0;
    header_->ordered_mask = 0;
    header_->active_mask = 0;
    for (std::uint32_t instance = 0; instance < kMaxInstances; ++instance) {
        auto& entry = instances_[instance];
        entry.holds = 0;
        if (entry.state == static_cast<std::uint32_t>(InstanceState::active)) {
            header_->active_mask |= bit_of(instance);
        }
    }
    if (sequences_) sequences_.begin_repair();
    for (std::uint32_t index = slot_count_; index-- > 0;) {
        switch (state_of(slots_[index])) {
            case SlotState::free: put_free(index); break;
            case SlotState::waiting: enqueue(index); break;
            case SlotState::expired: ++header_->expired_count; break;
            case SlotState::running:
                ++header_->running_count;
                ++instances_[slots_[index].instance].holds;
                if (sequences_) sequences_.adopt_running(index);
                break;
        }
        header_->next_sequence = std::max(header_->next_sequence, slots_[index].sequence + 1);
    }
    if (sequences_) sequences_.end_repair();
    // Whoever was chosen to be woken by the dead holder may sleep on: all look again.
    header_->idle_mask = 0;
    header_->gatherer = 0;
    for (std::uint32_t instance = 0; instance < kMaxInstances; ++instance) {
        instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
        futex_wake(instances_[instance].wake_word);
    }
}

std::uint32_t ModelQueue::take_free() noexcept {
    const auto index = header_->free_head;
    if (index != kNoSlot) header_->free_head = slots_[index].next;
    return index;
}

void ModelQueue::put_free(std::uint32_t index) noexcept {
    set_state(slots_[index], SlotState::free);
    slots_[index].next = header_->free_head;
    header_->free_head = index;
}

// In order of (level, delayed, sequence); nearly always at the tail.
void ModelQueue::enqueue(std::uint32_t index) noexcept {
    auto& slot = slots_[index];
    std::uint32_t after = header_->wait_tail;
    while (after != kNoSlot) {
        if (is_before(slots_[after], slot)) break;
        after = slots_[after].previous;
    }
    slot.previous = after;
    slot.next = after == kNoSlot ? header_->wait_head : slots_[after].next;
    (after == kNoSlot ? header_->wait_head : slots_[after].next) = index;
    (slot.next == kNoSlot ? header_->wait_tail : slots_[slot.next].previous) = index;
    ++header_->wait_count;
    if (sequences_) sequences_.add_waiting(index);
    if (slot.request.deadline_ns != 0 && slot.delayed == 0) note_deadline(slot.request.deadline_ns);
}

void ModelQueue::dequeue(std::uint32_t index) noexcept {
    const auto& slot = slots_[index];
    (slot.previous == kNoSlot ? header_->wait_head : slots_[slot.previous].next) = slot.next;
    (slot.next == kNoSlot ? header_->wait_tail : slots_[slot.next].previous) = slot.previous;
    --header_->wait_count;
    if (sequences_) sequences_.remove_waiting(index);
}

}  // namespace mpserve
