// What the files of the model queue share: reading and marking one slot.
#pragma once

#include <tuple>

#include "mpserve/model_queue.hpp"

namespace mpserve {

inline PoppedRequest popped_of(std::uint32_t index, const QueueSlot& slot) noexcept {
    return {.slot = index,
            .frontend = slot.frontend,
            .frontend_epoch = slot.frontend_epoch,
            .ring = slot.ring,
            .enqueued_ns = slot.enqueued_ns,
            .popped_ns = slot.popped_ns,
            .request = slot.request};
}

// Whether `slot` is to be taken before `other`.
inline bool is_before(const QueueSlot& slot, const QueueSlot& other) noexcept {
    return std::tie(slot.request.level, slot.delayed, slot.sequence) <
           std::tie(other.request.level, other.delayed, other.sequence);
}

// Whether a deadline passed; 0 is none.
inline bool is_due(std::uint64_t deadline_ns, std::uint64_t now) noexcept {
    return deadline_ns != 0 && now >= deadline_ns;
}

inline std::uint64_t bit_of(std::uint32_t instance) noexcept {
    return std::uint64_t{1} << instance;
}

inline SlotState state_of(const QueueSlot& slot) noexcept {
    return static_cast<SlotState>(slot.state.load(std::memory_order_relaxed));
}

// Release keeps the slot's fields before the state in program order: a kill between leaves the old
// state with fields that nobody reads.
inline void set_state(QueueSlot& slot, SlotState state) noexcept {
    slot.state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

}  // namespace mpserve
