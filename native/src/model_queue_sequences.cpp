// The model queue of a model with sequences: what is pushed finds its sequence, and an instance
// takes only what belongs to the sequences that it holds.

#include <algorithm>
#include <bit>

#include "mpserve/message.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "queue_slot.hpp"

namespace mpserve {

namespace {

// Of the queue's slots so many may be taken by sequences that wait for theirs; the rest is for
// those that have one, which would else be idle for too long behind them.
constexpr std::uint32_t backlog_limit(std::uint32_t slots) noexcept { return slots - slots / 4; }

}  // namespace

// Of these instances the idle ones, to be woken.
std::uint64_t ModelQueue::pick_these(std::uint64_t instances) noexcept {
    const auto picked = instances & header_->idle_mask;
    header_->idle_mask &= ~picked;
    for (auto left = picked; left != 0; left &= left - 1) {
        instances_[std::countr_zero(left)].wake_word.fetch_add(1, std::memory_order_release);
    }
    return picked;
}

// Instances that wait for more requests of their sequences.
std::uint64_t ModelQueue::gathering_sequences() const noexcept {
    std::uint64_t gathering = 0;
    for (auto left = header_->idle_mask; left != 0; left &= left - 1) {
        const auto instance = static_cast<std::uint32_t>(std::countr_zero(left));
        for (auto sequence = sequences_.first_of(instance); sequence != kNoSequence;
             sequence = sequences_.entry(sequence).next) {
            const auto& entry = sequences_.entry(sequence);
            if (entry.waiting != 0 && entry.running == 0) gathering |= bit_of(instance);
        }
    }
    return gathering;
}

std::uint64_t ModelQueue::pick_for_doomed() noexcept {
    return sequences_.first_doomed() == kNoSlot ? 0 : pick_idle(1);
}

std::uint64_t ModelQueue::settle_sequences(std::uint64_t now) noexcept {
    sequences_.settle(now);
    auto picked = pick_for_doomed();
    if (sequences_.has_backlog())
        picked |= pick_these(sequences_.place_backlog(header_->active_mask));
    return picked;
}

// A request of a sequence is given up by its client: the sequence can not go on without it.
std::uint64_t ModelQueue::end_sequence_of(std::uint32_t index, SequenceVerdict verdict,
                                          std::uint64_t now) noexcept {
    const auto& slot = sequences_.slot(index);
    if (slot.verdict != static_cast<std::uint32_t>(SequenceVerdict::none)) return 0;
    sequences_.end(slot.entry, verdict);
    return settle_sequences(now);
}

// A request that waited is lost with its frontend. The client may send it again; but a sequence
// that lost its start never began.
void ModelQueue::end_unless_started(std::uint32_t index) noexcept {
    const auto& slot = sequences_.slot(index);
    if (slot.verdict != static_cast<std::uint32_t>(SequenceVerdict::none)) return;
    if ((slot.flags & kSequenceStart) != 0) sequences_.end(slot.entry, SequenceVerdict::lost);
}

std::uint32_t ModelQueue::sequence_of(SequencedRequest& request, std::uint64_t now,
                                      SequenceRefusal& refused) noexcept {
    auto sequence = sequences_.find(request.mark.key);
    const bool starts = (request.mark.flags & kSequenceStart) != 0;
    if (sequence != kNoSequence) {
        request.restarts = starts;  // a further start begins it anew, in its order
        return sequence;
    }
    if (!starts) {
        refused = SequenceRefusal::not_started;
        return kNoSequence;
    }
    if (sequences_.backlog_requests() < backlog_limit(slot_count_))
        sequence = sequences_.create(request.mark.key, now);
    if (sequence == kNoSequence) refused = SequenceRefusal::no_room;
    return sequence;
}

SequencedOutcome ModelQueue::push_sequenced(std::span<SequencedRequest> requests,
                                            std::uint32_t frontend, std::uint32_t frontend_epoch,
                                            std::uint32_t ring, std::uint64_t now) noexcept {
    SequencedOutcome outcome{};
    std::uint64_t picked = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        if (header_->retired != 0) {
            outcome.retired = true;
            return outcome;
        }
        picked = settle_sequences(now);  // who was idle for too long is gone
        std::uint64_t holders = 0;
        bool waits_for_slot = false;
        for (auto& given : requests) {
            if (header_->free_head == kNoSlot) {
                outcome.full = true;
                picked |= pick_these(gathering_sequences());
                header_->starved_rings |= std::uint64_t{1} << ring;
                break;
            }
            const auto sequence = sequence_of(given, now, outcome.refused);
            if (sequence == kNoSequence) break;
            const auto index = take_free();
            auto& slot = slots_[index];
            slot.frontend = frontend;
            slot.frontend_epoch = frontend_epoch;
            slot.ring = ring;
            slot.sequence = header_->next_sequence++;
            slot.enqueued_ns = now;
            slot.request = given.request;
            slot.delayed = 0;
            slot.cancelled.store(0, std::memory_order_relaxed);
            slot.input.store(kNoInput, std::memory_order_relaxed);
            sequences_.mark(index, sequence, given.mark, now);
            set_state(slot, SlotState::waiting);  // COMMIT; killed before: the slot is free
            enqueue(index);
            ++outcome.pushed;
            const auto& entry = sequences_.entry(sequence);
            if (entry.state.load(std::memory_order_relaxed) ==
                static_cast<std::uint32_t>(SequenceState::active)) {
                holders |= bit_of(entry.instance);
            } else {
                waits_for_slot = true;
            }
        }
        picked |= pick_these(holders) | settle_sequences(now);
        // Who went to sleep before looks again when a slot may come free, or somebody is overdue.
        if (waits_for_slot && sequences_.has_backlog()) picked |= pick_these(header_->active_mask);
    }
    wake(picked);
    return outcome;
}

bool ModelQueue::has_sequence(const SequenceKey& key) noexcept {
    std::uint64_t picked = 0;
    bool found = false;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        if (!sequences_ || header_->retired != 0) return false;
        picked = settle_sequences(now_ns());
        found = sequences_.find(key) != kNoSequence;
    }
    wake(picked);
    return found;
}

std::uint32_t ModelQueue::live_sequences() noexcept {
    std::uint64_t picked = 0;
    std::uint32_t live = 0;
    {
        const RobustLock lock(header_->mutex);
        if (lock.recovered()) repair();
        if (!sequences_) return 0;
        picked = settle_sequences(now_ns());
        live = sequences_.live();
    }
    wake(picked);
    return live;
}

std::vector<PoppedRequest> ModelQueue::take_sequences_of(std::uint32_t instance) {
    std::vector<PoppedRequest> taken;
    if (!sequences_ || instance >= kMaxInstances) return taken;
    taken.reserve(slot_count_);  // no allocation inside the lock
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    for (auto sequence = sequences_.first_of(instance); sequence != kNoSequence;) {
        const auto& entry = sequences_.entry(sequence);
        const auto next = entry.next;
        sequences_.close(sequence);
        // The last one takes the sequence along, unless one of its requests is held by the dead.
        const auto waiting = entry.waiting;
        for (std::uint32_t left = waiting; left > 0; --left) {
            const auto index = entry.first;
            taken.push_back(popped_of(index, slots_[index]));
            dequeue(index);
            put_free(index);
        }
        if (waiting == 0) sequences_.release_if_over(sequence);
        sequence = next;
    }
    return taken;
}

void ModelQueue::set_sequence_slots(std::uint32_t slots) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    if (sequences_) sequences_.set_slots(slots);
}

// --- a worker's part -----------------------------------------------------------------------------

// Direct strategy: the next request of each slot, as long as it has the shape of the first one; the
// others come with a later batch. Returns until when it waits for more slots; 0: not at all.
std::uint64_t ModelQueue::choose_rows(std::uint32_t instance, const BatchRule& rule,
                                      std::uint64_t now) noexcept {
    chosen_.clear();
    std::uint32_t ready = 0;
    std::uint64_t oldest_ns = UINT64_MAX;
    for (auto sequence = sequences_.first_of(instance); sequence != kNoSequence;
         sequence = sequences_.entry(sequence).next) {
        const auto& entry = sequences_.entry(sequence);
        if (entry.waiting == 0 || entry.running != 0) continue;
        const auto& slot = slots_[entry.first];
        ++ready;
        oldest_ns = std::min(oldest_ns, slot.enqueued_ns);
        if (chosen_.empty() ||
            slot.request.shape_digest == slots_[chosen_.front()].request.shape_digest) {
            chosen_.push_back(entry.first);
        }
    }
    if (chosen_.empty() || rule.max_delay_ns == 0 || ready >= rule.ready_slots) return 0;
    const auto due_ns = oldest_ns + rule.max_delay_ns;
    if (now >= due_ns) return 0;
    chosen_.clear();
    return due_ns;
}

// Oldest strategy: of each sequence the next request, the oldest of them first, batched as requests
// without a sequence are.
std::uint64_t ModelQueue::choose_oldest(std::uint32_t instance, const BatchRule& rule,
                                        std::uint64_t now) noexcept {
    chosen_.clear();
    for (auto sequence = sequences_.first_of(instance); sequence != kNoSequence;
         sequence = sequences_.entry(sequence).next) {
        const auto& entry = sequences_.entry(sequence);
        if (entry.waiting != 0 && entry.running == 0) chosen_.push_back(entry.first);
    }
    if (chosen_.empty()) return 0;
    std::ranges::sort(chosen_, {}, [this](auto index) { return slots_[index].sequence; });
    BatchPlan plan(rule);
    for (const auto index : chosen_) {
        const auto& slot = slots_[index];
        if (!plan.offer({.shape_digest = slot.request.shape_digest,
                         .enqueued_ns = slot.enqueued_ns,
                         .rows = slot.request.rows})) {
            break;
        }
    }
    const auto decision = plan.decide(now);
    chosen_.resize(decision.take);
    return decision.look_again_ns;
}

PopOutcome ModelQueue::nothing_of_sequences(std::uint32_t instance, const BatchRule& rule,
                                            std::uint64_t look_again_ns) noexcept {
    auto& entry = instances_[instance];
    const bool is_retiring = entry.state == static_cast<std::uint32_t>(InstanceState::retiring);
    const bool holds_none = sequences_.held_by(instance) == 0;
    // What waits behind a request that still runs here, or for its slot, comes when that has ended.
    const bool is_over = header_->retired != 0 && (holds_none || header_->wait_count == 0);
    if (look_again_ns == 0 && (is_over || (is_retiring && holds_none))) return PopOutcome::retired;
    announce_idle(instance, rule);
    const auto settle_ns = sequences_.look_again_ns(is_retiring);
    entry.look_again_ns = look_again_ns == 0 ? settle_ns
                          : settle_ns == 0   ? look_again_ns
                                             : std::min(look_again_ns, settle_ns);
    return PopOutcome::empty;
}

PopOutcome ModelQueue::pop_sequences(std::uint32_t instance, BatchRule rule,
                                     std::span<PoppedRequest> out, std::size_t& count,
                                     std::uint64_t& picked, std::uint64_t now) noexcept {
    auto& entry = instances_[instance];
    entry.look_again_ns = 0;
    header_->idle_mask &= ~bit_of(instance);
    if (entry.state == static_cast<std::uint32_t>(InstanceState::absent))
        return PopOutcome::retired;
    if (header_->retired != 0) sequences_.release_quiet();
    picked = settle_sequences(now);
    if (header_->retired != 0 || header_->free_head == kNoSlot) rule.max_delay_ns = 0;
    rule.max_requests =
        static_cast<std::uint32_t>(std::min<std::size_t>(out.size(), rule.max_requests));
    const auto pop_one = [&](std::uint32_t index) {
        const auto& slot = sequences_.slot(index);
        take(index, instance, now);
        auto& popped = out[count++];
        popped = popped_of(index, slots_[index]);
        popped.verdict = static_cast<SequenceVerdict>(slot.verdict);
        if (popped.verdict == SequenceVerdict::none) {
            popped.sequence = sequences_.entry(slot.entry).serial;
            popped.sequence_slot = sequences_.entry(slot.entry).slot;
        }
    };
    while (count < out.size() && sequences_.first_doomed() != kNoSlot)
        pop_one(sequences_.first_doomed());
    if (count != 0) return PopOutcome::taken;  // answered at once; then it comes for the others
    const auto look_again_ns = rule.ready_slots != 0 ? choose_rows(instance, rule, now)
                                                     : choose_oldest(instance, rule, now);
    if (chosen_.empty()) return nothing_of_sequences(instance, rule, look_again_ns);
    for (const auto index : chosen_) {
        if (count == out.size()) break;
        pop_one(index);
    }
    return PopOutcome::taken;
}

}  // namespace mpserve
