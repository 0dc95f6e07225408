// Which sequence has which slot: the idle and the overdue go, the backlog moves up.

#include <algorithm>
#include <bit>

#include "mpserve/model_queue.hpp"
#include "mpserve/sequence_table.hpp"

namespace mpserve {

void SequenceTable::settle(std::uint64_t now) noexcept {
    if (now >= header_->look_ns) release_idle(now);
    if (now >= header_->backlog_due_ns) end_overdue(now);
}

std::uint64_t SequenceTable::look_again_ns(bool for_idle) const noexcept {
    std::uint64_t at_ns = UINT64_MAX;
    if (for_idle || header_->backlog.count != 0) at_ns = header_->look_ns;
    if (header_->backlog.count != 0) at_ns = std::min(at_ns, header_->backlog_due_ns);
    return at_ns == UINT64_MAX ? 0 : std::max(at_ns, std::uint64_t{1});
}

// A sequence that is heard of later than at this look is idle for too long no earlier than
// `idle_ns` after it.
void SequenceTable::release_idle(std::uint64_t now) noexcept {
    const auto idle_ns = header_->rule.idle_ns;
    auto next_ns = now + idle_ns;
    for (auto& list : header_->instances) {
        for (auto sequence = list.head; sequence != kNoSequence;) {
            const auto& entry = entries_[sequence];
            const auto next = entry.next;
            if (entry.waiting == 0 && entry.running == 0) {
                const auto due_ns = entry.heard_ns + idle_ns;
                if (now >= due_ns) {
                    release(sequence);
                } else {
                    next_ns = std::min(next_ns, due_ns);
                }
            }
            sequence = next;
        }
    }
    header_->look_ns = next_ns;
}

void SequenceTable::end_overdue(std::uint64_t now) noexcept {
    std::uint64_t next_ns = UINT64_MAX;
    for (auto sequence = header_->backlog.head; sequence != kNoSequence;) {
        const auto& entry = entries_[sequence];
        const auto next = entry.next;
        std::uint64_t due_ns = UINT64_MAX;
        for (auto index = entry.first; index != kNoSlot; index = slots_[index].next) {
            if (slots_[index].due_ns != 0) due_ns = std::min(due_ns, slots_[index].due_ns);
        }
        if (now >= due_ns) {
            end(sequence, SequenceVerdict::timed_out);
        } else {
            next_ns = std::min(next_ns, due_ns);
        }
        sequence = next;
    }
    header_->backlog_due_ns = next_ns;
}

std::uint64_t SequenceTable::place_backlog(std::uint64_t active) noexcept {
    std::uint64_t given = 0;
    while (header_->backlog.count != 0) {
        const auto sequence = header_->backlog.head;
        if (!place(sequence, active)) break;
        given |= std::uint64_t{1} << entries_[sequence].instance;
    }
    return given;
}

// Of all instances the one whose lowest free slot is the lowest: batches stay dense.
bool SequenceTable::place(std::uint32_t sequence, std::uint64_t active) noexcept {
    std::uint32_t chosen = kSequenceInstances;
    std::uint32_t chosen_slot = header_->rule.slots;
    for (; active != 0; active &= active - 1) {
        const auto instance = static_cast<std::uint32_t>(std::countr_zero(active));
        const auto slot = lowest_free_slot(instance);
        if (slot < chosen_slot) {
            chosen = instance;
            chosen_slot = slot;
        }
    }
    if (chosen == kSequenceInstances) return false;
    auto& entry = entries_[sequence];
    remove(header_->backlog, sequence);
    header_->backlog_requests -= entry.waiting;
    entry.instance = chosen;
    entry.slot = chosen_slot;
    entry.state.store(static_cast<std::uint32_t>(SequenceState::active),
                      std::memory_order_release);  // COMMIT; killed before: it is in the backlog
    insert_by_slot(sequence);
    return true;
}

std::uint32_t SequenceTable::lowest_free_slot(std::uint32_t instance) const noexcept {
    const auto& list = header_->instances[instance];
    if (list.count >= header_->rule.slots) return header_->rule.slots;
    std::uint32_t slot = 0;
    for (auto sequence = list.head; sequence != kNoSequence; sequence = entries_[sequence].next) {
        if (entries_[sequence].slot != slot) break;
        ++slot;
    }
    return slot;
}

}  // namespace mpserve
