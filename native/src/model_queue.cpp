#include "mpserve/model_queue.hpp"

#include <algorithm>
#include <bit>

#include "mpserve/wake.hpp"

namespace mpserve {

namespace {

PoppedRequest popped_of(std::uint32_t index, const QueueSlot& slot) noexcept {
    return {.slot = index,
            .frontend = slot.frontend,
            .frontend_epoch = slot.frontend_epoch,
            .ring = slot.ring,
            .enqueued_ns = slot.enqueued_ns,
            .popped_ns = slot.popped_ns,
            .request = slot.request};
}

SlotState state_of(const QueueSlot& slot) noexcept {
    return static_cast<SlotState>(slot.state.load(std::memory_order_relaxed));
}

// Release keeps the slot's fields before the state in program order: a kill between leaves the old
// state with fields that nobody reads.
void set_state(QueueSlot& slot, SlotState state) noexcept {
    slot.state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

}  // namespace

bool ModelQueue::format(Segment segment, std::uint32_t slots, std::uint64_t generation) noexcept {
    if (slots == 0 || slots >= kNoSlot || segment.bytes() < required_bytes(slots)) return false;
    auto* header = segment.at<QueueHeader>(0);
    header->slot_count = slots;
    header->generation = generation;
    header->next_sequence = 1;
    if (!header->mutex.initialise()) return false;
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
    slots_ = segment.at<QueueSlot>(kSlotsOffset, slot_count_);
    return instances_ != nullptr && frontends_ != nullptr && batches_ != nullptr &&
           slots_ != nullptr;
}

// Rebuilds every list and count from the slots' states.
void ModelQueue::repair() noexcept {
    header_->free_head = kNoSlot;
    header_->wait_head = header_->wait_tail = kNoSlot;
    header_->wait_count = header_->running_count = 0;
    for (std::uint32_t index = slot_count_; index-- > 0;) {
        switch (state_of(slots_[index])) {
            case SlotState::free:
                put_free(index);
                break;
            case SlotState::waiting:
                enqueue(index);
                break;
            case SlotState::running:
                ++header_->running_count;
                break;
        }
        header_->next_sequence = std::max(header_->next_sequence, slots_[index].sequence + 1);
    }
    // Whoever was chosen to be woken by the dead holder may sleep on: all look again.
    header_->idle_mask = 0;
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

// In order of (priority, sequence); nearly always at the tail.
void ModelQueue::enqueue(std::uint32_t index) noexcept {
    auto& slot = slots_[index];
    std::uint32_t after = header_->wait_tail;
    while (after != kNoSlot) {
        const auto& other = slots_[after];
        if (other.request.priority < slot.request.priority ||
            (other.request.priority == slot.request.priority && other.sequence < slot.sequence)) {
            break;
        }
        after = other.previous;
    }
    slot.previous = after;
    slot.next = after == kNoSlot ? header_->wait_head : slots_[after].next;
    (after == kNoSlot ? header_->wait_head : slots_[after].next) = index;
    (slot.next == kNoSlot ? header_->wait_tail : slots_[slot.next].previous) = index;
    ++header_->wait_count;
}

void ModelQueue::dequeue(std::uint32_t index) noexcept {
    const auto& slot = slots_[index];
    (slot.previous == kNoSlot ? header_->wait_head : slots_[slot.previous].next) = slot.next;
    (slot.next == kNoSlot ? header_->wait_tail : slots_[slot.next].previous) = slot.previous;
    --header_->wait_count;
}

std::uint64_t ModelQueue::take_starved() noexcept {
    const auto starved = header_->starved_rings;
    header_->starved_rings = 0;
    return starved;
}

// Chooses up to `wanted` idle instances, lowest first: the warm one gets the work.
std::uint64_t ModelQueue::pick_idle(std::uint32_t wanted) noexcept {
    std::uint64_t picked = 0;
    for (; wanted > 0 && header_->idle_mask != 0; --wanted) {
        const auto bit = header_->idle_mask & (~header_->idle_mask + 1);
        header_->idle_mask &= ~bit;
        picked |= bit;
        instances_[std::countr_zero(bit)].wake_word.fetch_add(1, std::memory_order_release);
    }
    return picked;
}

void ModelQueue::wake(std::uint64_t picked) noexcept {
    for (; picked != 0; picked &= picked - 1) {
        futex_wake(instances_[std::countr_zero(picked)].wake_word);
    }
}

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
            set_state(slot, SlotState::waiting);  // COMMIT; killed before: the slot is free
            enqueue(index);
            ++outcome.pushed;
        }
        picked = pick_idle(outcome.pushed);
    }
    wake(picked);
    return outcome;
}

bool ModelQueue::cancel(std::uint64_t token, std::uint32_t frontend,
                        std::uint32_t frontend_epoch) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    for (auto index = header_->wait_head; index != kNoSlot; index = slots_[index].next) {
        const auto& slot = slots_[index];
        if (slot.request.token == token && slot.frontend == frontend &&
            slot.frontend_epoch == frontend_epoch) {
            dequeue(index);
            put_free(index);
            return true;
        }
    }
    return false;
}

bool ModelQueue::activate(std::uint32_t instance, std::uint32_t process, std::uint32_t epoch) noexcept {
    if (instance >= kMaxInstances) return false;
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& entry = instances_[instance];
    entry.process = process;
    entry.epoch = epoch;
    entry.state = static_cast<std::uint32_t>(InstanceState::active);
    header_->idle_mask &= ~(std::uint64_t{1} << instance);
    return true;
}

void ModelQueue::finish(std::uint32_t index, std::uint32_t instance) noexcept {
    if (index >= slot_count_) return;
    auto& slot = slots_[index];
    if (state_of(slot) != SlotState::running || slot.instance != instance) return;
    put_free(index);
    --header_->running_count;
}

PopOutcome ModelQueue::pop(std::uint32_t instance, const BatchRule& rule,
                           std::span<const std::uint32_t> done, std::span<PoppedRequest> out,
                           std::size_t& count, std::uint64_t& starved,
                           std::uint32_t& wake_seen) noexcept {
    count = 0;
    starved = 0;
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& entry = instances_[instance];
    for (const auto index : done) finish(index, instance);
    if (!done.empty() && header_->starved_rings != 0) starved = take_starved();
    if (entry.state != static_cast<std::uint32_t>(InstanceState::active)) return PopOutcome::retired;
    if (header_->wait_head == kNoSlot) {
        if (header_->retired != 0) return PopOutcome::retired;
        header_->idle_mask |= std::uint64_t{1} << instance;
        wake_seen = entry.wake_word.load(std::memory_order_relaxed);
        return PopOutcome::empty;
    }
    header_->idle_mask &= ~(std::uint64_t{1} << instance);
    const auto now = now_ns();
    const auto digest = slots_[header_->wait_head].request.shape_digest;
    const auto limit = std::min<std::size_t>(out.size(), rule.max_requests);
    std::uint64_t rows = 0;
    while (count < limit && header_->wait_head != kNoSlot) {
        const auto index = header_->wait_head;
        auto& slot = slots_[index];
        if (count > 0 && (slot.request.shape_digest != digest ||
                          rows + slot.request.rows > rule.max_rows)) {
            break;
        }
        dequeue(index);
        slot.instance = instance;
        slot.instance_epoch = entry.epoch;
        slot.popped_ns = now;
        set_state(slot, SlotState::running);  // COMMIT; from here the request is known to be held
        ++header_->running_count;
        rows += slot.request.rows;
        out[count++] = popped_of(index, slot);
    }
    return PopOutcome::taken;
}

void ModelQueue::wake_all() noexcept {
    for (std::uint32_t instance = 0; instance < kMaxInstances; ++instance) {
        instances_[instance].wake_word.fetch_add(1, std::memory_order_release);
        futex_wake(instances_[instance].wake_word);
    }
}

void ModelQueue::retire() noexcept {
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        header_->retired = 1;
        header_->idle_mask = 0;
    }
    wake_all();
}

void ModelQueue::retire_instance(std::uint32_t instance) noexcept {
    if (instance >= kMaxInstances) return;
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        instances_[instance].state = static_cast<std::uint32_t>(InstanceState::retiring);
        header_->idle_mask &= ~(std::uint64_t{1} << instance);
        // It may have been woken for a request that it now leaves to the others.
        picked = pick_idle(header_->wait_count);
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
        for (const auto& request : answered) finish(request.slot, instance);
        auto& entry = instances_[instance];
        if (entry.epoch == epoch) {
            entry.state = static_cast<std::uint32_t>(InstanceState::absent);
            header_->idle_mask &= ~(std::uint64_t{1} << instance);
        }
        starved = take_starved();
        // The dead may have been the one that was woken for what waits.
        picked = pick_idle(header_->wait_count);
    }
    wake(picked);
}

std::uint32_t ModelQueue::drop_frontend(std::uint32_t frontend, std::uint32_t frontend_epoch) noexcept {
    std::uint32_t dropped = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        for (std::uint32_t index = 0; index < slot_count_; ++index) {
            const auto& slot = slots_[index];
            if (state_of(slot) == SlotState::waiting && slot.frontend == frontend &&
                slot.frontend_epoch == frontend_epoch) {
                dequeue(index);
                put_free(index);
                ++dropped;
            }
        }
        header_->idle_mask = 0;
    }
    wake_all();
    return dropped;
}

std::vector<PoppedRequest> ModelQueue::take_waiting() {
    std::vector<PoppedRequest> taken;
    taken.reserve(slot_count_);
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    while (header_->wait_head != kNoSlot) {
        const auto index = header_->wait_head;
        taken.push_back(popped_of(index, slots_[index]));
        dequeue(index);
        put_free(index);
    }
    return taken;
}

}  // namespace mpserve
