// Sequences in a model queue: who may take what, when a slot comes free, what a death leaves.

#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "check.hpp"
#include "mpserve/message.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kSlots = 16;
constexpr std::uint32_t kStart = kSequenceStart;
constexpr std::uint32_t kEnd = kSequenceEnd;
constexpr std::uint64_t kNever = 3'600'000'000'000ULL;
constexpr std::uint64_t kMillisecond = 1'000'000;
const BatchRule kDirect{.max_rows = 4, .max_requests = 4, .ready_slots = 1};
const BatchRule kOldest{.max_rows = 2, .max_requests = 2};

SequenceKey key(std::uint64_t number, std::string_view text = {}) {
    SequenceKey made{};
    CHECK(made.set(number, text));
    return made;
}

struct Popped {
    PopOutcome outcome{};
    std::vector<std::uint64_t> tokens;
    std::vector<std::uint32_t> rows;
    std::vector<std::uint32_t> slots;
    std::vector<SequenceVerdict> verdicts;
};

using Tokens = std::vector<std::uint64_t>;
using Rows = std::vector<std::uint32_t>;

struct Fixture {
    explicit Fixture(std::uint32_t slots_of_instance, std::uint64_t idle_ns = kNever,
                     std::uint32_t instances = 1)
        : rule{.slots = slots_of_instance, .idle_ns = idle_ns},
          memory(ModelQueue::required_bytes(kSlots, rule)) {
        CHECK(queue.format(memory.segment(), kSlots, 5, rule));
        for (std::uint32_t instance = 0; instance < instances; ++instance)
            CHECK(queue.activate(instance, 10 + instance, 1));
    }

    SequencedOutcome push(SequenceKey id, std::uint64_t token, std::uint32_t flags = 0,
                          std::uint64_t digest = 0, std::uint64_t timeout_ns = 0,
                          std::uint32_t frontend = 1) {
        SequencedRequest request{};
        request.request.token = token;
        request.request.rows = 1;
        request.request.shape_digest = digest;
        request.mark.key = id;
        request.mark.flags = flags;
        request.mark.timeout_ns = timeout_ns;
        return queue.push_sequenced({&request, 1}, frontend, 1, 0);
    }
    SequencedOutcome push(std::uint64_t id, std::uint64_t token, std::uint32_t flags = 0,
                          std::uint64_t digest = 0, std::uint64_t timeout_ns = 0) {
        return push(key(id), token, flags, digest, timeout_ns);
    }

    Popped pop(std::uint32_t instance = 0, const BatchRule& batch = kDirect,
               std::vector<std::uint32_t> done = {}) {
        std::vector<PoppedRequest> out(16);
        std::size_t count = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        Popped popped;
        popped.outcome = queue.pop(instance, batch, done, out, count, starved, seen);
        for (std::size_t index = 0; index < count; ++index) {
            popped.tokens.push_back(out[index].request.token);
            popped.rows.push_back(out[index].sequence_slot);
            popped.slots.push_back(out[index].slot);
            popped.verdicts.push_back(out[index].verdict);
        }
        return popped;
    }

    SequenceRule rule;
    SharedMemory memory;
    ModelQueue queue;
};

}  // namespace

TEST_CASE(a_sequence_that_was_not_started_is_refused) {
    Fixture f(2);
    const auto outcome = f.push(7, 1);
    CHECK_EQUAL(outcome.pushed, std::uint32_t{0});
    CHECK(outcome.refused == SequenceRefusal::not_started);
    CHECK(f.queue.is_drained());
    CHECK_EQUAL(f.push(7, 2, kStart).pushed, std::uint32_t{1});
    CHECK_EQUAL(f.push(7, 3).pushed, std::uint32_t{1});
}

TEST_CASE(a_number_and_a_text_of_the_same_digits_are_two_sequences) {
    Fixture f(2);
    f.push(key(7), 1, kStart);
    CHECK(f.push(key(0, "7"), 2).refused == SequenceRefusal::not_started);
    CHECK_EQUAL(f.push(key(0, "7"), 3, kStart).pushed, std::uint32_t{1});
    CHECK(f.queue.has_sequence(key(0, "7")));
    CHECK_EQUAL(f.queue.live_sequences(), std::uint32_t{2});
}

TEST_CASE(a_text_may_have_128_bytes) {
    SequenceKey made{};
    CHECK(made.set(0, std::string(128, 'x')));
    CHECK(!made.set(0, std::string(129, 'x')));
}

TEST_CASE(each_row_of_a_direct_batch_is_one_sequence) {
    Fixture f(4);
    f.push(1, 10, kStart);
    f.push(2, 20, kStart);
    f.push(1, 11);
    f.push(3, 30, kStart);
    const auto first = f.pop();
    CHECK(first.tokens == (Tokens{10, 20, 30}));
    CHECK(first.rows == (Rows{0, 1, 2}));
    // The second one of a sequence waits until the first one is done.
    CHECK(f.pop().outcome == PopOutcome::empty);
    const auto second = f.pop(0, kDirect, first.slots);
    CHECK(second.tokens == Tokens{11});
    CHECK(second.rows == Rows{0});
}

TEST_CASE(a_row_of_another_shape_comes_with_a_later_batch) {
    Fixture f(4);
    f.push(1, 10, kStart, 5);
    f.push(2, 20, kStart, 6);
    f.push(3, 30, kStart, 5);
    const auto first = f.pop();
    CHECK(first.tokens == (Tokens{10, 30}));
    CHECK(first.rows == (Rows{0, 2}));
    CHECK(f.pop(0, kDirect, first.slots).tokens == Tokens{20});
}

TEST_CASE(a_slot_that_comes_free_goes_to_the_first_of_the_backlog) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(2, 20, kStart);
    f.push(3, 30, kStart);
    f.push(2, 21, kEnd);
    const auto first = f.pop();
    CHECK(first.tokens == Tokens{10});
    CHECK(f.pop(0, kDirect, first.slots).outcome == PopOutcome::empty);  // it goes on
    f.push(1, 11, kEnd);
    const auto last = f.pop();
    CHECK(last.tokens == Tokens{11});
    const auto next = f.pop(0, kDirect, last.slots);
    CHECK(next.tokens == Tokens{20});
    const auto after = f.pop(0, kDirect, next.slots);
    CHECK(after.tokens == Tokens{21});
    CHECK(f.pop(0, kDirect, after.slots).tokens == Tokens{30});
    CHECK_EQUAL(f.queue.live_sequences(), std::uint32_t{1});
}

TEST_CASE(an_id_that_ended_may_start_again_while_its_end_still_waits) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(1, 11, kEnd);
    CHECK(f.push(1, 12).refused == SequenceRefusal::not_started);
    CHECK_EQUAL(f.push(1, 13, kStart).pushed, std::uint32_t{1});
    CHECK_EQUAL(f.queue.live_sequences(), std::uint32_t{2});
    const auto first = f.pop();
    CHECK(first.tokens == Tokens{10});
    const auto end = f.pop(0, kDirect, first.slots);
    CHECK(end.tokens == Tokens{11});
    CHECK(f.pop(0, kDirect, end.slots).tokens == Tokens{13});
}

TEST_CASE(a_start_on_a_living_id_begins_it_anew_behind_what_waits) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(1, 11);
    f.push(1, 12, kStart);
    CHECK_EQUAL(f.queue.live_sequences(), std::uint32_t{1});
    auto popped = f.pop();
    for (const auto wanted : {10u, 11u, 12u}) {
        CHECK(popped.tokens == Tokens{wanted});
        popped = f.pop(0, kDirect, popped.slots);
    }
}

TEST_CASE(a_sequence_stays_with_its_instance) {
    Fixture f(2, kNever, 2);
    f.push(1, 10, kStart);
    f.push(2, 20, kStart);  // the other instance: its lowest free slot is lower
    CHECK(f.pop(1).tokens == Tokens{20});
    f.push(1, 11);
    f.push(2, 21);
    const auto first = f.pop(0);
    CHECK(first.tokens == Tokens{10});
    CHECK(f.pop(1).outcome == PopOutcome::empty);
    CHECK(f.pop(0, kDirect, first.slots).tokens == Tokens{11});
}

TEST_CASE(the_oldest_strategy_batches_one_request_of_each_sequence_oldest_first) {
    Fixture f(4);
    f.push(1, 10, kStart);
    f.push(1, 11);
    f.push(2, 20, kStart);
    f.push(3, 30, kStart);
    const auto first = f.pop(0, kOldest);
    CHECK(first.tokens == (Tokens{10, 20}));
    const auto second = f.pop(0, kOldest, first.slots);
    CHECK(second.tokens == (Tokens{11, 30}));
}

TEST_CASE(a_direct_batch_waits_for_enough_slots_or_for_the_delay) {
    Fixture f(4);
    BatchRule rule = kDirect;
    rule.max_delay_ns = 20 * kMillisecond;
    rule.ready_slots = 2;
    f.push(1, 10, kStart);
    CHECK(f.pop(0, rule).outcome == PopOutcome::empty);
    CHECK(f.queue.look_again_ns(0) != 0);
    f.push(2, 20, kStart);
    const auto full = f.pop(0, rule);
    CHECK(full.tokens == (Tokens{10, 20}));
    f.push(1, 11);
    CHECK(f.pop(0, rule, full.slots).outcome == PopOutcome::empty);
    usleep(25'000);
    CHECK(f.pop(0, rule).tokens == Tokens{11});
}

TEST_CASE(an_idle_sequence_is_let_go_and_its_slot_used_again) {
    Fixture f(1, 30 * kMillisecond);
    f.push(1, 10, kStart);
    f.push(2, 20, kStart);
    const auto first = f.pop();
    CHECK(first.tokens == Tokens{10});
    usleep(40'000);
    CHECK(f.queue.has_sequence(key(1)));  // one of its requests runs: it is not idle
    CHECK(f.pop(0, kDirect, first.slots).outcome == PopOutcome::empty);
    CHECK(f.queue.look_again_ns(0) != 0);  // the instance that sleeps wakes up for the backlog
    usleep(40'000);
    CHECK(f.pop().tokens == Tokens{20});
    CHECK(f.push(1, 11).refused == SequenceRefusal::not_started);
}

TEST_CASE(a_sequence_that_waits_for_a_slot_is_not_idle_but_may_have_a_timeout) {
    Fixture f(1, 30 * kMillisecond);
    f.push(1, 10, kStart);
    const auto first = f.pop();
    f.push(2, 20, kStart);
    f.push(3, 30, kStart, 0, 5 * kMillisecond);
    f.push(3, 31);
    usleep(10'000);
    const auto refused = f.pop();
    CHECK(refused.tokens == (Tokens{30, 31}));
    CHECK(refused.verdicts ==
          (std::vector{SequenceVerdict::timed_out, SequenceVerdict::timed_out}));
    CHECK(f.push(3, 32).refused == SequenceRefusal::not_started);
    usleep(40'000);
    CHECK(f.queue.has_sequence(key(2)));
    CHECK(f.pop(0, kDirect, refused.slots).outcome == PopOutcome::empty);
}

TEST_CASE(a_cancelled_request_ends_its_sequence) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(1, 11);
    f.push(1, 12);
    f.push(2, 20, kStart);
    const auto first = f.pop();
    CHECK(f.queue.cancel(11, 1, 1));
    CHECK(f.push(1, 13).refused == SequenceRefusal::not_started);
    const auto refused = f.pop(0, kDirect, first.slots);
    CHECK(refused.tokens == Tokens{12});
    CHECK(refused.verdicts == std::vector{SequenceVerdict::cancelled});
    CHECK(f.pop(0, kDirect, refused.slots).tokens == Tokens{20});
}

TEST_CASE(a_cancelled_request_that_runs_ends_its_sequence_too) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(1, 11);
    const auto first = f.pop();
    f.queue.mark_cancelled(10, 1, 1);
    CHECK(f.queue.is_cancelled(first.slots[0]));
    const auto refused = f.pop();
    CHECK(refused.tokens == Tokens{11});
    f.pop(0, kDirect, {first.slots[0], refused.slots[0]});
    CHECK_EQUAL(f.queue.live_sequences(), std::uint32_t{0});
    CHECK(f.queue.is_drained());
}

TEST_CASE(a_dead_instance_takes_its_sequences_along) {
    Fixture f(1, kNever, 2);
    f.push(1, 10, kStart);
    f.push(1, 11);
    f.push(2, 20, kStart);
    f.push(3, 30, kStart);  // the backlog
    CHECK(f.pop(0).tokens == Tokens{10});
    const auto lost = f.queue.take_sequences_of(0);
    CHECK_EQUAL(lost.size(), std::size_t{1});
    CHECK_EQUAL(lost[0].request.token, std::uint64_t{11});
    const auto held = f.queue.held_by(0, 1);
    std::uint64_t starved = 0;
    f.queue.release_reaped(0, 1, held, starved);
    CHECK(f.push(1, 12).refused == SequenceRefusal::not_started);
    CHECK(f.push(2, 21).refused == SequenceRefusal::none);
    CHECK_EQUAL(f.queue.live_sequences(), std::uint32_t{2});
    f.queue.activate(0, 20, 2);
    CHECK(f.pop(0).tokens == Tokens{30});
}

TEST_CASE(a_retiring_instance_serves_what_it_holds_and_takes_nothing_new) {
    Fixture f(1, 30 * kMillisecond, 2);
    f.push(1, 10, kStart);
    f.push(2, 20, kStart);
    const auto first = f.pop(0);
    f.queue.retire_instance(0);
    f.push(3, 30, kStart);
    f.push(1, 11);
    const auto second = f.pop(0, kDirect, first.slots);
    CHECK(second.tokens == Tokens{11});
    CHECK(f.pop(0, kDirect, second.slots).outcome == PopOutcome::empty);
    CHECK(f.queue.look_again_ns(0) != 0);
    usleep(40'000);
    CHECK(f.pop(0).outcome == PopOutcome::retired);
}

TEST_CASE(a_retired_queue_finishes_what_waits_also_in_the_backlog) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(2, 20, kStart);
    f.queue.retire();
    CHECK(f.push(1, 11).retired);
    const auto first = f.pop();
    CHECK(first.tokens == Tokens{10});
    const auto second = f.pop(0, kDirect, first.slots);
    CHECK(second.tokens == Tokens{20});
    CHECK(f.pop(0, kDirect, second.slots).outcome == PopOutcome::retired);
    CHECK(f.queue.is_drained());
}

TEST_CASE(a_retired_queue_waits_for_what_is_behind_a_running_request) {
    Fixture f(1);
    f.push(1, 10, kStart);
    f.push(1, 11);
    f.push(2, 20, kStart);  // the backlog
    const auto first = f.pop();
    CHECK(first.tokens == Tokens{10});
    f.queue.retire();
    // A decoupled model comes again before it has ended its answers.
    CHECK(f.pop().outcome == PopOutcome::empty);
    const auto second = f.pop(0, kDirect, first.slots);
    CHECK(second.tokens == Tokens{11});
    const auto third = f.pop(0, kDirect, second.slots);
    CHECK(third.tokens == Tokens{20});
    CHECK(f.pop().outcome == PopOutcome::retired);
    CHECK(f.pop(0, kDirect, third.slots).outcome == PopOutcome::retired);
    CHECK(f.queue.is_drained());
}

TEST_CASE(a_request_is_taken_no_earlier_than_it_came) {
    Fixture f(1);
    SequencedRequest request{};
    request.request.token = 10;
    request.request.rows = 1;
    request.mark.key = key(1);
    request.mark.flags = kStart;
    // Who pops has read the clock, and waits for the lock meanwhile.
    CHECK_EQUAL(f.queue.push_sequenced({&request, 1}, 1, 1, 0, 1000).pushed, std::uint32_t{1});
    std::vector<PoppedRequest> out(4);
    std::size_t count = 0;
    std::uint64_t starved = 0;
    std::uint32_t seen = 0;
    f.queue.pop(0, kDirect, {}, out, count, starved, seen, 900);
    CHECK_EQUAL(count, std::size_t{1});
    CHECK_EQUAL(out[0].enqueued_ns, std::uint64_t{1000});
    CHECK_EQUAL(out[0].popped_ns, std::uint64_t{1000});
}

TEST_CASE(a_dead_frontend_ends_only_the_sequences_whose_start_it_took_along) {
    Fixture f(2);
    f.push(key(1), 10, kStart, 0, 0, 1);
    f.push(key(1), 11, 0, 0, 0, 2);
    f.push(key(2), 20, kStart, 0, 0, 2);
    f.push(key(2), 21, 0, 0, 0, 1);
    CHECK_EQUAL(f.queue.drop_frontend(1, 1), std::uint32_t{2});
    const auto refused = f.pop();
    CHECK(refused.tokens == Tokens{11});
    CHECK(refused.verdicts == std::vector{SequenceVerdict::lost});
    CHECK(f.pop(0, kDirect, refused.slots).tokens == Tokens{20});
    CHECK(!f.queue.has_sequence(key(1)));
    CHECK(f.queue.has_sequence(key(2)));
}

TEST_CASE(the_backlog_leaves_room_for_the_sequences_that_have_a_slot) {
    Fixture f(1);
    f.push(1, 10, kStart);
    std::uint32_t waiting = 0;
    SequencedOutcome outcome{};
    for (std::uint64_t id = 2; id < 40; ++id) {
        outcome = f.push(id, id * 10, kStart);
        if (outcome.refused != SequenceRefusal::none) break;
        ++waiting;
    }
    CHECK(outcome.refused == SequenceRefusal::no_room);
    CHECK_EQUAL(waiting, kSlots - kSlots / 4);
    CHECK_EQUAL(f.push(1, 11).pushed, std::uint32_t{1});
}

TEST_CASE(who_waits_for_more_slots_is_told_when_the_queue_is_full) {
    Fixture f(2, kNever, 2);
    BatchRule patient = kDirect;
    patient.max_delay_ns = kNever;
    patient.ready_slots = 2;
    f.push(1, 10, kStart);
    CHECK(f.pop(0).tokens == Tokens{10});
    f.push(2, 20, kStart);
    CHECK(f.pop(1, patient).outcome == PopOutcome::empty);
    const auto before = f.queue.wake_word(1).load();
    std::uint64_t token = 11;
    for (; token < 11 + kSlots - 2; ++token) CHECK_EQUAL(f.push(1, token).pushed, 1U);
    CHECK_EQUAL(f.queue.wake_word(1).load(), before);  // they are the other instance's
    CHECK(f.push(1, token).full);
    CHECK(f.queue.wake_word(1).load() != before);
    CHECK(f.pop(1, patient).tokens == Tokens{20});
}

int main() { return mpserve::check::run_all(); }
