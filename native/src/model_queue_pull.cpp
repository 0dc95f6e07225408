// A worker's part of the model queue: finish what was executed, take the next batch.

#include "mpserve/model_queue.hpp"

#include <algorithm>

#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

bool ModelQueue::activate(std::uint32_t instance, std::uint32_t process,
                          std::uint32_t epoch) noexcept {
    if (instance >= kMaxInstances) return false;
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& entry = instances_[instance];
    entry.process = process;
    entry.epoch = epoch;
    entry.sent.store(0, std::memory_order_relaxed);
    entry.waits_from_ns.store(0, std::memory_order_relaxed);
    set_instance(instance, InstanceState::active);
    return true;
}

// From here it is neither idle nor gathering.
void ModelQueue::set_instance(std::uint32_t instance, InstanceState state) noexcept {
    instances_[instance].state = static_cast<std::uint32_t>(state);
    if (state == InstanceState::active) {
        header_->active_mask |= bit_of(instance);
    } else {
        header_->active_mask &= ~bit_of(instance);
    }
    header_->idle_mask &= ~bit_of(instance);
    if (header_->gatherer == instance + 1) header_->gatherer = 0;
}

void ModelQueue::finish(std::uint32_t index, std::uint32_t instance, std::uint64_t now) noexcept {
    if (index >= slot_count_) return;
    auto& slot = slots_[index];
    if (state_of(slot) != SlotState::running || slot.instance != instance) return;
    put_free(index);
    --header_->running_count;
    --instances_[instance].holds;
    if (sequences_) sequences_.finish(index, now);
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
    if (sequences_) sequences_.begin_running(index);
    dequeue(index);
    slot.instance = instance;
    slot.instance_epoch = instances_[instance].epoch;
    slot.popped_ns = std::max(now, slot.enqueued_ns);  // pushed since the caller read the clock
    set_state(slot, SlotState::running);  // COMMIT; from here the request is known to be held
    ++header_->running_count;
    ++header_->taken;
    ++instances_[instance].holds;
}

PopOutcome ModelQueue::pop_locked(std::uint32_t instance, BatchRule rule,
                                  std::span<PoppedRequest> out, std::size_t& count,
                                  std::uint64_t& picked, std::uint64_t now,
                                  bool may_take) noexcept {
    auto& entry = instances_[instance];
    if (header_->gatherer == instance + 1) header_->gatherer = 0;
    entry.look_again_ns = 0;
    if (entry.state != static_cast<std::uint32_t>(InstanceState::active))
        return PopOutcome::retired;
    if (is_due(header_->next_deadline_ns, now)) sweep_deadlines(now);
    if (header_->wait_head == kNoSlot) {
        if (header_->retired != 0) return PopOutcome::retired;
        announce_idle(instance, rule);
        return PopOutcome::empty;
    }
    header_->idle_mask &= ~bit_of(instance);
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
    if (!may_take) return PopOutcome::limited;
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
                           std::size_t& count, std::uint64_t& starved, std::uint32_t& wake_seen,
                           std::uint64_t now, bool may_take) noexcept {
    count = 0;
    starved = 0;
    std::uint64_t picked = 0;
    PopOutcome outcome{};
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        instances_[instance].moved_at = moment_of(now);
        note_execution(done, instance, now);
        for (const auto index : done) finish(index, instance, now);
        const auto ordered = done.empty() ? 0 : release_ordered();
        outcome = sequences_ ? pop_sequences(instance, rule, out, count, picked, now)
                             : pop_locked(instance, rule, out, count, picked, now, may_take);
        if (outcome == PopOutcome::empty) {
            wake_seen = instances_[instance].wake_word.load(std::memory_order_relaxed);
        }
        picked |= ordered;
        // While half of the slots wait there is work for a while: pushers come for several at once.
        if (header_->starved_rings != 0 && header_->free_head != kNoSlot &&
            header_->wait_count <= slot_count_ / 2) {
            starved = take_starved();
        }
    }
    wake(picked);
    return outcome;
}

bool ModelQueue::may_answer(std::uint32_t instance, std::uint32_t& wake_seen) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto mine = UINT64_MAX;
    auto others = UINT64_MAX;
    for (std::uint32_t index = 0; index < slot_count_; ++index) {
        const auto& slot = slots_[index];
        if (state_of(slot) != SlotState::running) continue;
        auto& oldest = slot.instance == instance ? mine : others;
        oldest = std::min(oldest, slot.sequence);
    }
    if (mine <= others) return true;
    header_->ordered_mask |= bit_of(instance);
    wake_seen = instances_[instance].wake_word.load(std::memory_order_relaxed);
    return false;
}

}  // namespace mpserve
