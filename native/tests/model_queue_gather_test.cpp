// Batches that wait for company: who waits, who is woken, and who takes them.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>
#include <thread>

#include "check.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLong = 3'600 * kSecond;  // longer than any test
constexpr std::uint64_t kShort = 2'000'000;
constexpr std::uint64_t kHang = 20 * kSecond;
constexpr BatchRule kFour{
    .max_rows = 4, .max_requests = 4, .max_delay_ns = kLong, .preferred_rows = {}};

using Tokens = std::vector<std::uint64_t>;

QueueRequest request(std::uint64_t token, std::uint64_t digest = 0, std::uint32_t rows = 1) {
    return {.token = token,
            .block = 0,
            .block_bytes = 0,
            .deadline_ns = 0,
            .shape_digest = digest,
            .level = 0,
            .rows = rows,
            .on_timeout = 0};
}

// Two instances of one queue.
struct Fixture {
    explicit Fixture(std::uint32_t slots = 16) : memory(ModelQueue::required_bytes(slots)) {
        CHECK(queue.format(memory.segment(), slots, 5));
        CHECK(queue.activate(0, 10, 1));
        CHECK(queue.activate(1, 11, 1));
    }

    void push(const std::vector<QueueRequest>& requests) {
        std::vector<QueuePush> pushes;
        for (const auto& one : requests) pushes.push_back({.request = one});
        queue.push(pushes, 1, 1, 0);
    }

    Tokens pop(std::uint32_t instance, const BatchRule& rule = kFour) {
        std::array<PoppedRequest, 8> out;
        std::size_t count = 0;
        std::uint64_t starved = 0;
        outcome = queue.pop(instance, rule, {}, out, count, starved, seen[instance]);
        Tokens tokens;
        for (std::size_t index = 0; index < count; ++index) {
            tokens.push_back(out[index].request.token);
        }
        return tokens;
    }

    // Whether a sleeping instance would sleep no longer.
    bool is_woken(std::uint32_t instance) {
        return queue.wake_word(instance).load() != seen[instance];
    }
    bool gathers(std::uint32_t instance) { return queue.look_again_ns(instance) != 0; }

    SharedMemory memory;
    ModelQueue queue;
    PopOutcome outcome{};
    std::array<std::uint32_t, 2> seen{};
};

}  // namespace

TEST_CASE(a_batch_that_may_grow_is_held_by_nobody) {
    Fixture f;
    f.push({request(1)});
    const auto before = now_ns();
    CHECK(f.pop(0).empty());
    CHECK(f.outcome == PopOutcome::empty);
    CHECK(f.queue.look_again_ns(0) <= before + kLong);
    CHECK(f.queue.look_again_ns(0) > before);
    CHECK_EQUAL(f.queue.running(), std::uint32_t{0});
    CHECK_EQUAL(f.queue.depth(), std::uint32_t{1});
    CHECK(f.queue.held_by(0, 1).empty());
}

TEST_CASE(a_push_wakes_who_gathers_when_it_completes_the_batch_and_not_before) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    f.push({request(2), request(3)});
    CHECK(!f.is_woken(0));
    f.push({request(4)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(0) == (Tokens{1, 2, 3, 4}));
}

TEST_CASE(rows_complete_a_batch_as_well_as_requests) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    f.push({request(2, 0, 3)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(0) == (Tokens{1, 2}));
}

TEST_CASE(a_request_of_another_shape_sends_what_was_gathered) {
    Fixture f;
    f.push({request(1), request(2)});
    f.pop(0);
    f.push({request(3, 9)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(0) == (Tokens{1, 2}));
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
}

TEST_CASE(only_one_instance_gathers_and_the_others_stay_asleep) {
    Fixture f;
    f.pop(1);
    f.push({request(1)});
    CHECK(f.is_woken(1));
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
    CHECK(f.pop(0).empty());
    CHECK(!f.gathers(0));
    f.push({request(2)});
    CHECK(!f.is_woken(0));
    CHECK(!f.is_woken(1));
    f.push({request(3), request(4)});
    CHECK(!f.is_woken(0));
    CHECK(f.is_woken(1));
    CHECK(f.pop(1) == (Tokens{1, 2, 3, 4}));
}

TEST_CASE(a_push_wakes_no_more_instances_than_it_brings_batches) {
    Fixture f;
    f.pop(0);
    f.pop(1);
    f.push({request(1), request(2), request(3), request(4)});
    CHECK(f.is_woken(0));
    CHECK(!f.is_woken(1));
    CHECK(f.pop(0) == (Tokens{1, 2, 3, 4}));
    CHECK(!f.is_woken(1));
}

TEST_CASE(who_takes_a_batch_wakes_another_for_what_it_leaves) {
    Fixture f;
    f.pop(0);
    f.pop(1);
    f.push({request(1), request(2, 9)});
    CHECK(!f.is_woken(1));
    CHECK(f.pop(0) == Tokens{1});
    CHECK(f.is_woken(1));
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
}

TEST_CASE(another_instance_may_take_a_batch_that_is_complete) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    f.push({request(2), request(3), request(4)});
    CHECK(f.pop(1) == (Tokens{1, 2, 3, 4}));  // before the woken one came
    CHECK(f.pop(0).empty());
    CHECK(!f.gathers(0));
    f.push({request(5)});
    CHECK(f.is_woken(0));
}

TEST_CASE(who_gathered_what_another_took_is_idle) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    BatchRule hurried = kFour;
    hurried.max_delay_ns = 0;
    CHECK(f.pop(1, hurried) == Tokens{1});
    f.push({request(2)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(0).empty());
    CHECK(f.gathers(0));
}

TEST_CASE(past_the_delay_the_batch_goes_as_it_is) {
    Fixture f;
    BatchRule rule = kFour;
    rule.max_delay_ns = kShort;
    f.push({request(1), request(2)});
    const auto begin = now_ns();
    Tokens taken = f.pop(0, rule);
    while (taken.empty() && now_ns() - begin < kHang) {
        futex_wait(f.queue.wake_word(0), f.seen[0], f.queue.look_again_ns(0) - begin);
        taken = f.pop(0, rule);
    }
    CHECK(taken == (Tokens{1, 2}));
    CHECK(now_ns() - begin >= kShort / 2);  // the requests came a moment before `begin`
}

TEST_CASE(a_request_taken_back_makes_who_gathers_count_again) {
    Fixture f;
    f.push({request(1), request(2), request(3)});
    f.pop(0);
    CHECK(f.queue.cancel(2, 1, 1));
    CHECK(f.is_woken(0));
    CHECK(f.pop(0).empty());
    f.push({request(4)});
    CHECK(!f.is_woken(0));
    f.push({request(5)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(0) == (Tokens{1, 3, 4, 5}));
}

TEST_CASE(a_retired_queue_waits_for_no_company) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    f.queue.retire();
    CHECK(f.is_woken(0));
    CHECK(f.pop(0) == Tokens{1});
}

TEST_CASE(a_full_queue_waits_for_no_company) {
    Fixture f(2);
    f.push({request(1)});
    f.pop(0);
    f.push({request(2)});
    CHECK(!f.is_woken(0));
    f.push({request(3)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(0) == (Tokens{1, 2}));
}

TEST_CASE(a_retired_instance_leaves_what_it_gathered_to_another) {
    Fixture f;
    f.pop(1);
    f.queue.activate(0, 10, 1);
    f.push({request(1)});
    CHECK(f.pop(0).empty());
    CHECK(f.pop(1).empty());
    f.queue.retire_instance(0);
    CHECK(f.is_woken(0));
    CHECK(f.is_woken(1));
    f.pop(0);
    CHECK(f.outcome == PopOutcome::retired);
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
}

TEST_CASE(a_dead_instance_leaves_what_it_gathered_to_another) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    f.pop(1);
    CHECK(!f.is_woken(1));
    std::uint64_t starved = 0;
    f.queue.release_reaped(0, 1, {}, starved);
    CHECK(f.is_woken(1));
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
}

TEST_CASE(a_successor_does_not_gather_for_its_predecessor) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    CHECK(f.queue.activate(0, 12, 2));
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
}

TEST_CASE(a_holder_killed_inside_the_lock_leaves_nobody_gathering) {
    Fixture f;
    f.push({request(1)});
    f.pop(0);
    auto& header = f.memory.at<QueueHeader>(0);
    const auto child = fork();
    if (child == 0) {
        RobustLock lock(header.mutex);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    f.push({request(2)});
    CHECK(f.is_woken(0));
    CHECK(f.pop(1).empty());
    CHECK(f.gathers(1));
}

// With threads, so that the thread sanitizer sees it. A lost wake-up would let a batch wait for the
// delay of its next request, or for ever.
TEST_CASE(competing_instances_that_gather_take_each_request_once_and_in_time) {
    constexpr std::uint64_t kRequests = 3000;
    constexpr std::array<std::uint32_t, 2> kPreferred{2, 4};
    Fixture f(64);
    const BatchRule rule{
        .max_rows = 6, .max_requests = 6, .max_delay_ns = kShort, .preferred_rows = kPreferred};
    std::array<std::vector<PoppedRequest>, 3> taken;
    f.queue.activate(2, 12, 1);
    std::vector<std::thread> threads;
    for (std::uint32_t instance = 0; instance < taken.size(); ++instance) {
        threads.emplace_back([&, instance] {
            std::vector<std::uint32_t> done;
            std::array<PoppedRequest, 6> out;
            for (;;) {
                std::size_t count = 0;
                std::uint64_t starved = 0;
                std::uint32_t seen = 0;
                const auto outcome = f.queue.pop(instance, rule, done, out, count, starved, seen);
                done.clear();
                if (outcome == PopOutcome::retired) return;
                if (outcome == PopOutcome::empty) {
                    const auto now = now_ns();
                    const auto until = f.queue.look_again_ns(instance);
                    if (until != 0 && until <= now) continue;
                    futex_wait(f.queue.wake_word(instance), seen, until == 0 ? kHang : until - now);
                }
                for (std::size_t index = 0; index < count; ++index) {
                    taken[instance].push_back(out[index]);
                    done.push_back(out[index].slot);
                }
            }
        });
    }
    std::mt19937_64 random(mpserve::check::seed());
    for (std::uint64_t token = 0; token < kRequests;) {
        std::vector<QueuePush> some;
        const auto count = 1 + random() % 5;
        for (std::uint64_t index = 0; index < count && token + index < kRequests; ++index) {
            some.push_back({.request = request(token + index, random() % 16 / 15)});
        }
        const auto outcome = f.queue.push(some, 1, 1, 0);
        token += outcome.handled;
        if (random() % 8 == 0) usleep(static_cast<useconds_t>(random() % 4'000));
    }
    while (!f.queue.is_drained()) usleep(100);
    f.queue.retire();
    for (auto& thread : threads) thread.join();
    std::vector<int> times(kRequests, 0);
    std::uint64_t longest_ns = 0;
    for (const auto& requests : taken) {
        for (const auto& one : requests) {
            ++times[one.request.token];
            longest_ns = std::max(longest_ns, one.popped_ns - one.enqueued_ns);
        }
    }
    CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
    CHECK(longest_ns < kHang / 2);
    CHECK(f.queue.is_drained());
}

int main() { return mpserve::check::run_all(); }
