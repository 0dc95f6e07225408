#include "mpserve/model_queue.hpp"

#include <algorithm>
#include <bit>

#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

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
            case SlotState::free: put_free(index); break;
            case SlotState::waiting: enqueue(index); break;
            case SlotState::running: ++header_->running_count; break;
        }
        header_->next_sequence = std::max(header_->next_sequence, slots_[index].sequence + 1);
    }
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

// As many as `requests` can keep busy; should they make more batches, the first who comes wakes
// others.
std::uint64_t ModelQueue::pick_for(std::uint32_t requests) noexcept {
    if (requests == 0 || header_->idle_mask == 0 || header_->gatherer != 0) return 0;
    const auto& idle = instances_[std::countr_zero(header_->idle_mask)];
    const auto batch = std::max(idle.max_requests, std::uint32_t{1});
    return pick_idle((requests - 1) / batch + 1);
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
            dequeue(index);
            put_free(index);
            picked = release_gatherer();  // it counted on this one
            found = true;
            break;
        }
    }
    wake(picked);
    return found;
}

void ModelQueue::mark_cancelled(std::uint64_t token, std::uint32_t frontend,
                                std::uint32_t frontend_epoch) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    for (std::uint32_t index = 0; index < slot_count_; ++index) {
        auto& slot = slots_[index];
        if (state_of(slot) == SlotState::running && slot.request.token == token &&
            slot.frontend == frontend && slot.frontend_epoch == frontend_epoch) {
            slot.cancelled.store(1, std::memory_order_relaxed);
            return;
        }
    }
}

bool ModelQueue::activate(std::uint32_t instance, std::uint32_t process,
                          std::uint32_t epoch) noexcept {
    if (instance >= kMaxInstances) return false;
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& entry = instances_[instance];
    entry.process = process;
    entry.epoch = epoch;
    entry.state = static_cast<std::uint32_t>(InstanceState::active);
    header_->idle_mask &= ~bit_of(instance);
    if (header_->gatherer == instance + 1) header_->gatherer = 0;
    return true;
}

void ModelQueue::finish(std::uint32_t index, std::uint32_t instance) noexcept {
    if (index >= slot_count_) return;
    auto& slot = slots_[index];
    if (state_of(slot) != SlotState::running || slot.instance != instance) return;
    put_free(index);
    --header_->running_count;
}

BatchDecision ModelQueue::plan_batch(const BatchRule& rule, std::uint64_t now) const noexcept {
    BatchPlan plan(rule);
    for (auto index = header_->wait_head; index != kNoSlot; index = slots_[index].next) {
        const auto& slot = slots_[index];
        if (!plan.offer({.shape_digest = slot.request.shape_digest,
                         .enqueued_ns = slot.enqueued_ns,
                         .rows = slot.request.rows})) {
            break;
        }
    }
    return plan.decide(now);
}

void ModelQueue::announce_idle(std::uint32_t instance, const BatchRule& rule) noexcept {
    header_->idle_mask |= bit_of(instance);
    instances_[instance].max_requests = rule.max_requests;
}

// The requests stay waiting: nobody holds them while they wait for company.
void ModelQueue::gather(std::uint32_t instance, const BatchDecision& decision) noexcept {
    auto& entry = instances_[instance];
    entry.missing_rows = decision.missing_rows;
    entry.gathered_digest = slots_[header_->wait_head].request.shape_digest;
    entry.look_again_ns = decision.look_again_ns;
    header_->gatherer = instance + 1;
}

void ModelQueue::take(std::uint32_t index, std::uint32_t instance, std::uint64_t now) noexcept {
    auto& slot = slots_[index];
    dequeue(index);
    slot.instance = instance;
    slot.instance_epoch = instances_[instance].epoch;
    slot.popped_ns = now;
    set_state(slot, SlotState::running);  // COMMIT; from here the request is known to be held
    ++header_->running_count;
}

PopOutcome ModelQueue::pop_locked(std::uint32_t instance, BatchRule rule,
                                  std::span<PoppedRequest> out, std::size_t& count,
                                  std::uint64_t& picked) noexcept {
    auto& entry = instances_[instance];
    if (header_->gatherer == instance + 1) header_->gatherer = 0;
    entry.look_again_ns = 0;
    if (entry.state != static_cast<std::uint32_t>(InstanceState::active))
        return PopOutcome::retired;
    if (header_->wait_head == kNoSlot) {
        if (header_->retired != 0) return PopOutcome::retired;
        announce_idle(instance, rule);
        return PopOutcome::empty;
    }
    header_->idle_mask &= ~bit_of(instance);
    const auto now = now_ns();
    const bool company_may_come = header_->retired == 0 && header_->free_head != kNoSlot;
    if (!company_may_come) rule.max_delay_ns = 0;
    rule.max_requests =
        static_cast<std::uint32_t>(std::min<std::size_t>(out.size(), rule.max_requests));
    const auto decision = plan_batch(rule, now);
    if (decision.take == 0) {
        if (header_->gatherer == 0) {
            gather(instance, decision);
        } else {
            announce_idle(instance, rule);
        }
        return PopOutcome::empty;
    }
    while (count < decision.take) {
        const auto index = header_->wait_head;
        take(index, instance, now);
        out[count++] = popped_of(index, slots_[index]);
    }
    if (header_->gatherer != 0) {  // what it gathered is taken: it sleeps on as an idle one
        header_->idle_mask |= bit_of(header_->gatherer - 1);
        header_->gatherer = 0;
    }
    // A push wakes for batches of the largest size; what it could not foresee is left now.
    if (rule.max_requests > 1) picked = pick_for(std::min<std::uint32_t>(header_->wait_count, 1));
    return PopOutcome::taken;
}

PopOutcome ModelQueue::pop(std::uint32_t instance, const BatchRule& rule,
                           std::span<const std::uint32_t> done, std::span<PoppedRequest> out,
                           std::size_t& count, std::uint64_t& starved,
                           std::uint32_t& wake_seen) noexcept {
    count = 0;
    starved = 0;
    std::uint64_t picked = 0;
    PopOutcome outcome{};
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        for (const auto index : done) finish(index, instance);
        if (!done.empty() && header_->starved_rings != 0) starved = take_starved();
        outcome = pop_locked(instance, rule, out, count, picked);
        if (outcome == PopOutcome::empty) {
            wake_seen = instances_[instance].wake_word.load(std::memory_order_relaxed);
        }
    }
    wake(picked);
    return outcome;
}

}  // namespace mpserve
