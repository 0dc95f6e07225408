#include "mpserve/model_queue.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "check.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kSlots = 8;

struct Fixture {
    explicit Fixture(std::uint32_t slots = kSlots) : memory(ModelQueue::required_bytes(slots)) {
        CHECK(queue.format(memory.segment(), slots, 5));
        CHECK(queue.activate(0, 10, 1));
    }
    SharedMemory memory;
    ModelQueue queue;
};

using Tokens = std::vector<std::uint64_t>;

QueueRequest request(std::uint64_t token, std::uint32_t rows = 1, std::uint64_t digest = 0,
                     std::uint64_t level = 0) {
    return {.token = token,
            .block = 0,
            .block_bytes = 0,
            .deadline_ns = 0,
            .shape_digest = digest,
            .level = level,
            .rows = rows,
            .on_timeout = 0};
}

QueueRequest until(QueueRequest given, std::uint64_t deadline_ns,
                   OnTimeout on_timeout = OnTimeout::reject) {
    given.deadline_ns = deadline_ns;
    given.on_timeout = static_cast<std::uint32_t>(on_timeout);
    return given;
}

struct Popped {
    PopOutcome outcome;
    std::vector<std::uint64_t> tokens;
    std::vector<std::uint32_t> slots;
    std::uint64_t starved;
};

Popped pop(ModelQueue& queue, std::uint32_t instance = 0, BatchRule rule = {},
           std::vector<std::uint32_t> done = {}, std::uint64_t now = now_ns()) {
    std::vector<PoppedRequest> out(16);
    std::size_t count = 0;
    std::uint32_t seen = 0;
    Popped popped{};
    popped.outcome = queue.pop(instance, rule, done, out, count, popped.starved, seen, now);
    for (std::size_t index = 0; index < count; ++index) {
        popped.tokens.push_back(out[index].request.token);
        popped.slots.push_back(out[index].slot);
    }
    return popped;
}

PushOutcome push(ModelQueue& queue, std::vector<QueueRequest> requests,
                 std::uint32_t frontend = 1) {
    std::vector<QueuePush> pushes;
    for (const auto& one : requests) pushes.push_back({.request = one});
    return queue.push(pushes, frontend, 1, 0);
}

// Pushes to a level that may hold so many; the tokens that were refused.
Tokens push_bounded(ModelQueue& queue, std::uint32_t max_waiting, std::uint64_t now,
                    const std::vector<QueueRequest>& requests) {
    std::vector<QueuePush> pushes;
    for (const auto& one : requests) pushes.push_back({.request = one, .max_waiting = max_waiting});
    CHECK_EQUAL(queue.push(pushes, 1, 1, 0, now).handled, pushes.size());
    Tokens refused;
    for (const auto& one : pushes) {
        if (one.refused) refused.push_back(one.request.token);
    }
    return refused;
}

}  // namespace

TEST_CASE(requests_leave_in_the_order_they_came) {
    Fixture f;
    push(f.queue, {request(1), request(2)});
    push(f.queue, {request(3)});
    CHECK(pop(f.queue).tokens == Tokens{1});
    CHECK(pop(f.queue).tokens == Tokens{2});
    CHECK(pop(f.queue).tokens == Tokens{3});
    CHECK(pop(f.queue).outcome == PopOutcome::empty);
}

TEST_CASE(a_lower_priority_number_goes_first_and_equals_keep_their_order) {
    Fixture f;
    push(f.queue,
         {request(1, 1, 0, 2), request(2, 1, 0, 1), request(3, 1, 0, 2), request(4, 1, 0, 1)});
    CHECK(pop(f.queue).tokens == Tokens{2});
    CHECK(pop(f.queue).tokens == Tokens{4});
    CHECK(pop(f.queue).tokens == Tokens{1});
    CHECK(pop(f.queue).tokens == Tokens{3});
}

TEST_CASE(a_level_of_any_number_has_its_place) {
    Fixture f;
    push(f.queue, {request(1, 1, 0, UINT64_MAX), request(2, 1, 0, std::uint64_t{1} << 40)});
    CHECK(pop(f.queue, 0, {.max_rows = 2, .max_requests = 2}).tokens == (Tokens{2, 1}));
}

TEST_CASE(a_full_level_refuses_and_the_others_do_not) {
    Fixture f;
    CHECK(push_bounded(f.queue, 2, 1,
                       {request(1, 1, 0, 1), request(2, 1, 0, 1), request(3, 1, 0, 1)}) ==
          Tokens{3});
    CHECK(push_bounded(f.queue, 2, 1, {request(4, 1, 0, 2), request(5, 1, 0, 1)}) == Tokens{5});
    CHECK(pop(f.queue).tokens == Tokens{1});
    CHECK(push_bounded(f.queue, 2, 1, {request(6, 1, 0, 1)}).empty());
}

TEST_CASE(who_waited_past_its_deadline_is_not_taken_and_is_its_frontends_to_collect) {
    Fixture f;
    push(f.queue, {until(request(1), 100), request(2)});
    CHECK(pop(f.queue, 0, {}, {}, 100).tokens == Tokens{2});
    CHECK(pop(f.queue, 0, {}, {}, 101).tokens.empty());
    CHECK_EQUAL(f.queue.depth(), 0U);
    CHECK(f.queue.cancel(1, 1, 1));
    CHECK(!f.queue.cancel(1, 1, 1));
}

TEST_CASE(who_may_be_late_runs_after_all_others_of_its_level) {
    Fixture f;
    push(f.queue, {until(request(1, 1, 0, 1), 100, OnTimeout::delay), request(2, 1, 0, 1),
                   request(3, 1, 0, 2)});
    CHECK(pop(f.queue, 0, {}, {}, 200).tokens == Tokens{2});
    push(f.queue, {request(4, 1, 0, 1)});
    CHECK(pop(f.queue, 0, {}, {}, 300).tokens == Tokens{4});
    CHECK(pop(f.queue, 0, {}, {}, 400).tokens == Tokens{1});
    CHECK(pop(f.queue, 0, {}, {}, 500).tokens == Tokens{3});
}

TEST_CASE(what_expired_does_not_count_for_its_level) {
    Fixture f;
    CHECK(push_bounded(f.queue, 1, 50, {until(request(1), 100)}).empty());
    CHECK(push_bounded(f.queue, 1, 60, {request(2)}) == Tokens{2});
    CHECK(push_bounded(f.queue, 1, 100, {request(3)}).empty());
}

TEST_CASE(what_expired_goes_with_its_frontend) {
    Fixture f(1);
    push(f.queue, {until(request(1), 100)});
    pop(f.queue, 0, {}, {}, 200);
    CHECK_EQUAL(push(f.queue, {request(2)}, 2).handled, 0U);
    f.queue.drop_frontend(1, 1);
    CHECK_EQUAL(push(f.queue, {request(2)}, 2).handled, 1U);
}

TEST_CASE(a_slot_that_is_taken_back_is_told_to_who_waits_for_one) {
    Fixture f(1);
    std::array<PoppedRequest, 1> out;
    std::size_t count = 0;
    std::uint64_t starved = 0;
    std::uint32_t seen = 0;
    push(f.queue, {until(request(1), 100)});
    f.queue.pop(0, {}, {}, out, count, starved, seen, 200);
    CHECK(push(f.queue, {request(2)}, 2).full);
    CHECK_EQUAL(f.queue.wake_word(0).load(), seen);
    CHECK(f.queue.cancel(1, 1, 1));
    CHECK(f.queue.wake_word(0).load() != seen);
    CHECK_EQUAL(pop(f.queue).starved, 1ULL);
}

TEST_CASE(who_keeps_the_order_answers_after_those_who_took_before_it) {
    Fixture f;
    CHECK(f.queue.activate(1, 11, 1));
    push(f.queue, {request(1), request(2)});
    const auto first = pop(f.queue, 1);
    pop(f.queue, 0);
    std::uint32_t seen = 0;
    CHECK(f.queue.may_answer(1, seen));
    CHECK(!f.queue.may_answer(0, seen));
    CHECK_EQUAL(f.queue.wake_word(0).load(), seen);
    pop(f.queue, 1, {}, first.slots);
    CHECK(f.queue.wake_word(0).load() != seen);
    CHECK(f.queue.may_answer(0, seen));
}

TEST_CASE(who_keeps_the_order_does_not_wait_for_the_dead) {
    Fixture f;
    CHECK(f.queue.activate(1, 11, 1));
    push(f.queue, {request(1), request(2)});
    pop(f.queue, 1);
    pop(f.queue, 0);
    std::uint32_t seen = 0;
    CHECK(!f.queue.may_answer(0, seen));
    std::uint64_t starved = 0;
    f.queue.release_reaped(1, 1, f.queue.held_by(1, 1), starved);
    CHECK(f.queue.wake_word(0).load() != seen);
    CHECK(f.queue.may_answer(0, seen));
}

TEST_CASE(a_batch_has_equal_shapes_and_no_more_rows_than_allowed) {
    Fixture f;
    const BatchRule rule{.max_rows = 4, .max_requests = 8};
    push(f.queue, {request(1, 2, 7), request(2, 2, 7), request(3, 1, 7), request(4, 1, 9)});
    CHECK(pop(f.queue, 0, rule).tokens == (Tokens{1, 2}));
    CHECK(pop(f.queue, 0, rule).tokens == Tokens{3});
    CHECK(pop(f.queue, 0, rule).tokens == Tokens{4});
}

TEST_CASE(a_request_larger_than_a_batch_is_taken_alone) {
    Fixture f;
    push(f.queue, {request(1, 9), request(2, 1)});
    CHECK(pop(f.queue, 0, {.max_rows = 4, .max_requests = 8}).tokens == Tokens{1});
}

TEST_CASE(a_full_queue_takes_what_fits_and_tells_when_slots_come_free) {
    Fixture f;
    std::vector<QueueRequest> many;
    for (std::uint64_t token = 0; token < kSlots + 3; ++token) many.push_back(request(token));
    const auto pushed = push(f.queue, many);
    CHECK_EQUAL(pushed.handled, kSlots);
    CHECK(pushed.full);
    auto taken = pop(f.queue);
    CHECK_EQUAL(taken.starved, std::uint64_t{0});
    // Not one by one: as long as half of the slots wait, nobody is woken to push.
    for (std::uint32_t waiting = kSlots - 1; waiting > kSlots / 2 + 1; --waiting) {
        taken = pop(f.queue, 0, {}, taken.slots);
        CHECK_EQUAL(taken.starved, std::uint64_t{0});
    }
    taken = pop(f.queue, 0, {}, taken.slots);
    CHECK_EQUAL(taken.starved, std::uint64_t{1});
    CHECK_EQUAL(pop(f.queue, 0, {}, taken.slots).starved, std::uint64_t{0});
    CHECK(!push(f.queue, {request(99)}).full);
}

TEST_CASE(a_slot_that_comes_free_is_told_at_once_when_little_waits) {
    Fixture f;
    std::vector<QueueRequest> many;
    for (std::uint64_t token = 0; token < kSlots; ++token) many.push_back(request(token));
    push(f.queue, many);
    std::vector<std::uint32_t> running;
    for (std::uint32_t index = 0; index < kSlots; ++index) {
        running.push_back(pop(f.queue).slots.front());
    }
    CHECK(push(f.queue, {request(99)}).full);
    const auto next = pop(f.queue, 0, {}, {running.front()});
    CHECK(next.tokens.empty());
    CHECK_EQUAL(next.starved, std::uint64_t{1});
}

TEST_CASE(a_waiting_request_can_be_taken_back_and_a_running_one_can_not) {
    Fixture f;
    push(f.queue, {request(1), request(2)});
    CHECK(pop(f.queue).tokens == Tokens{1});
    CHECK(!f.queue.cancel(1, 1, 1));
    CHECK(!f.queue.cancel(2, 9, 1));
    CHECK(f.queue.cancel(2, 1, 1));
    CHECK(pop(f.queue).outcome == PopOutcome::empty);
}

TEST_CASE(a_retired_queue_refuses_and_is_emptied) {
    Fixture f;
    push(f.queue, {request(1)});
    f.queue.retire();
    CHECK(push(f.queue, {request(2)}).retired);
    CHECK(!f.queue.is_drained());
    const auto last = pop(f.queue);
    CHECK(last.tokens == Tokens{1});
    CHECK(pop(f.queue, 0, {}, last.slots).outcome == PopOutcome::retired);
    CHECK(f.queue.is_drained());
}

TEST_CASE(a_retired_instance_leaves_what_waits_to_the_others) {
    Fixture f;
    f.queue.activate(1, 11, 1);
    push(f.queue, {request(1)});
    f.queue.retire_instance(0);
    CHECK(pop(f.queue, 0).outcome == PopOutcome::retired);
    CHECK(pop(f.queue, 1).tokens == Tokens{1});
}

TEST_CASE(what_a_dead_instance_held_is_known_and_released) {
    Fixture f;
    push(f.queue, {request(1), request(2), request(3)});
    pop(f.queue);
    pop(f.queue);
    const auto held = f.queue.held_by(0, 1);
    CHECK_EQUAL(held.size(), std::size_t{2});
    CHECK(f.queue.held_by(0, 2).empty());
    std::uint64_t starved = 0;
    f.queue.release_reaped(0, 1, held, starved);
    CHECK_EQUAL(f.queue.running(), std::uint32_t{0});
    CHECK(pop(f.queue).outcome == PopOutcome::retired);  // the dead instance is no instance
    CHECK(f.queue.activate(0, 12, 2));
    CHECK(pop(f.queue).tokens == Tokens{3});
}

TEST_CASE(what_a_dead_frontend_left_waiting_is_dropped) {
    Fixture f;
    push(f.queue, {request(1)}, 1);
    push(f.queue, {request(2)}, 2);
    CHECK_EQUAL(f.queue.drop_frontend(1, 1), std::uint32_t{1});
    CHECK(pop(f.queue).tokens == Tokens{2});
}

TEST_CASE(a_sleeping_instance_is_woken_by_a_push) {
    Fixture f;
    std::vector<PoppedRequest> out(1);
    std::size_t count = 0;
    std::uint64_t starved = 0;
    std::uint32_t seen = 0;
    CHECK(f.queue.pop(0, {}, {}, out, count, starved, seen) == PopOutcome::empty);
    std::thread pusher([&] { push(f.queue, {request(1)}); });
    const auto before = now_ns();
    futex_wait(f.queue.wake_word(0), seen, 10'000'000'000ULL);
    CHECK(now_ns() - before < 9'000'000'000ULL);
    pusher.join();
    CHECK(pop(f.queue).tokens == Tokens{1});
}

TEST_CASE(of_idle_instances_the_one_that_holds_the_fewest_requests_is_woken) {
    Fixture f;
    CHECK(f.queue.activate(1, 11, 1));
    for (std::uint32_t instance : {0, 1}) CHECK(pop(f.queue, instance).tokens.empty());
    std::vector<std::uint32_t> woken;
    std::vector<std::vector<std::uint32_t>> held(2);
    for (std::uint64_t token = 1; token <= 6; ++token) {
        if (token == 5) {  // the first one has answered all that it had
            CHECK(pop(f.queue, 0, {}, held[0]).tokens.empty());
        }
        const auto before = f.queue.wake_word(0).load();
        push(f.queue, {request(token)});
        woken.push_back(f.queue.wake_word(0).load() != before ? 0 : 1);
        const auto taken = pop(f.queue, woken.back());  // and leaves it to its sender
        CHECK(taken.tokens == Tokens{token});
        held[woken.back()].push_back(taken.slots.front());
        CHECK(pop(f.queue, woken.back()).outcome == PopOutcome::empty);
    }
    CHECK(woken == (std::vector<std::uint32_t>{0, 1, 0, 1, 0, 0}));
}

TEST_CASE(a_holder_killed_inside_the_lock_leaves_a_queue_that_repairs_itself) {
    Fixture f;
    push(f.queue, {request(1), request(2), request(3)});
    pop(f.queue);
    auto& header = f.memory.at<QueueHeader>(0);
    const auto child = fork();
    if (child == 0) {
        RobustLock lock(header.mutex);
        header.free_head = 3;  // whatever it was about to do
        header.wait_head = header.wait_tail = 1;
        header.wait_count = 77;
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(pop(f.queue).tokens == Tokens{2});
    CHECK(pop(f.queue).tokens == Tokens{3});
    CHECK_EQUAL(f.queue.depth(), std::uint32_t{0});
    CHECK_EQUAL(f.queue.running(), std::uint32_t{3});
    std::vector<QueueRequest> many(kSlots, request(9));
    CHECK_EQUAL(push(f.queue, many).handled, kSlots - 3);
}

TEST_CASE(another_layout_version_or_kind_is_not_attached) {
    Fixture f;
    f.memory.at<SegmentHeader>(0).layout_version = kLayoutVersion + 1;
    ModelQueue other;
    CHECK(!other.attach(f.memory.segment()));
    f.memory.at<SegmentHeader>(0).layout_version = kLayoutVersion;
    CHECK(other.attach(f.memory.segment()));
    CHECK(!other.attach(Segment(f.memory.segment().base(), sizeof(QueueHeader))));
}

// With threads, so that the thread sanitizer sees it.
TEST_CASE(every_request_is_taken_once_by_competing_instances) {
    constexpr std::uint64_t kRequests = 4000;
    Fixture f(64);
    std::array<std::vector<std::uint64_t>, 3> taken;
    for (std::uint32_t instance = 0; instance < taken.size(); ++instance) {
        f.queue.activate(instance, 10 + instance, 1);
    }
    std::vector<std::thread> threads;
    for (std::uint32_t instance = 0; instance < taken.size(); ++instance) {
        threads.emplace_back([&, instance] {
            std::vector<std::uint32_t> done;
            std::vector<PoppedRequest> out(4);
            for (;;) {
                std::size_t count = 0;
                std::uint64_t starved = 0;
                std::uint32_t seen = 0;
                const auto outcome = f.queue.pop(instance, {.max_rows = 4, .max_requests = 4}, done,
                                                 out, count, starved, seen);
                done.clear();
                if (outcome == PopOutcome::retired) return;
                if (outcome == PopOutcome::empty) {
                    futex_wait(f.queue.wake_word(instance), seen, 5'000'000'000ULL);
                }
                for (std::size_t index = 0; index < count; ++index) {
                    taken[instance].push_back(out[index].request.token);
                    done.push_back(out[index].slot);
                }
            }
        });
    }
    for (std::uint64_t token = 0; token < kRequests;) {
        std::vector<QueueRequest> some;
        for (std::uint64_t index = 0; index < 5 && token + index < kRequests; ++index) {
            some.push_back(request(token + index));
        }
        const auto outcome = push(f.queue, some);
        token += outcome.handled;
        if (outcome.full) std::this_thread::yield();
    }
    f.queue.retire();
    for (auto& thread : threads) thread.join();
    std::vector<int> times(kRequests, 0);
    for (const auto& tokens : taken) {
        for (const auto token : tokens) ++times[token];
    }
    CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
    CHECK(f.queue.is_drained());
}

int main() { return mpserve::check::run_all(); }
