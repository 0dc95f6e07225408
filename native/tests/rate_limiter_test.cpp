// Executions that share resources: who goes first, who waits, and what the dead held.

#include "mpserve/rate_limiter.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "check.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint64_t kRed = 11;
constexpr std::uint64_t kBlue = 12;

using Needs = std::vector<ResourceNeed>;

struct Fixture {
    Fixture() : memory(RateLimiter::required_bytes(8)) {
        CHECK(limiter.format(memory.segment(), 8));
    }
    void enrol(std::uint32_t process, const Needs& needs, std::uint32_t priority = 0) {
        CHECK(limiter.enrol(process, 1, priority, needs));
    }
    bool acquire(std::uint32_t process) {
        std::uint32_t seen = 0;
        return limiter.acquire(process, seen);
    }
    SharedMemory memory;
    RateLimiter limiter;
};

Needs some(std::uint64_t key, std::uint32_t count = 1) {
    return {{.key = key, .count = count, .reserved_ = 0}};
}

}  // namespace

TEST_CASE(what_is_not_limited_is_as_much_as_somebody_needs) {
    Fixture f;
    f.enrol(1, some(kRed, 3));
    f.enrol(2, some(kRed, 1));
    CHECK_EQUAL(f.limiter.limit(kRed), 3U);
    f.limiter.withdraw(1);
    CHECK_EQUAL(f.limiter.limit(kRed), 1U);
    CHECK(f.limiter.set_limit(kRed, 7));
    CHECK_EQUAL(f.limiter.limit(kRed), 7U);
}

TEST_CASE(who_finds_too_little_waits_and_is_woken) {
    Fixture f;
    f.enrol(1, some(kRed, 2));
    f.enrol(2, some(kRed, 1));
    CHECK(f.acquire(1));
    std::uint32_t seen = 0;
    CHECK(!f.limiter.acquire(2, seen));
    f.limiter.release(1, true);
    CHECK(f.limiter.wake_word(2).load() != seen);
    CHECK(f.acquire(2));
    CHECK_EQUAL(f.limiter.in_use(kRed), 1U);
}

TEST_CASE(who_needs_nothing_never_waits) {
    Fixture f;
    f.enrol(1, some(kRed));
    f.enrol(2, {});
    CHECK(f.acquire(1));
    CHECK(f.acquire(2));
}

TEST_CASE(who_executed_least_goes_first_by_its_priority) {
    Fixture f;
    f.enrol(1, some(kRed));
    f.enrol(2, some(kRed), 1);
    f.enrol(3, some(kRed), 3);
    for (const std::uint32_t process : {2U, 2U, 3U}) {  // 2 * 1 against 1 * 3
        CHECK(f.acquire(process));
        f.limiter.release(process, true);
    }
    CHECK(f.acquire(1));
    CHECK(!f.acquire(3));
    CHECK(!f.acquire(2));
    f.limiter.release(1, true);
    CHECK(f.acquire(2));
    CHECK(!f.acquire(3));
}

TEST_CASE(who_wants_another_execution_stands_in_line_with_the_others) {
    Fixture f;
    f.enrol(1, some(kRed), 1);
    f.enrol(2, some(kRed), 3);
    std::uint32_t holder = 1;
    CHECK(f.acquire(1));
    CHECK(!f.acquire(2));
    std::vector<std::uint32_t> order;
    for (int execution = 0; execution < 8; ++execution) {
        order.push_back(holder);
        if (!f.limiter.renew(holder)) holder = 3 - holder;
    }
    CHECK(order == (std::vector<std::uint32_t>{1, 2, 1, 1, 2, 1, 1, 1}));
    f.limiter.release(3 - holder, false);  // it has nothing to do any more
    CHECK(f.limiter.renew(holder));
}

TEST_CASE(what_was_not_executed_does_not_count) {
    Fixture f;
    f.enrol(1, some(kRed));
    f.enrol(2, some(kRed));
    CHECK(f.acquire(2));
    f.limiter.release(2, false);
    CHECK(f.acquire(1));
    f.limiter.release(1, true);
    CHECK(f.acquire(1));
    CHECK(!f.acquire(2));
    f.limiter.release(1, true);
    CHECK(f.acquire(2));
}

TEST_CASE(who_needs_much_is_not_passed_over_by_those_who_need_little) {
    Fixture f;
    f.enrol(1, some(kRed, 1));
    f.enrol(2, some(kRed, 2));
    f.enrol(3, some(kRed, 1));
    f.enrol(4, some(kBlue, 1));
    CHECK(f.acquire(1));
    CHECK(!f.acquire(2));
    CHECK(!f.acquire(3));  // there would be room
    CHECK(f.acquire(4));   // another resource is another matter
    f.limiter.release(1, true);
    CHECK(f.acquire(2));
    CHECK(!f.acquire(3));
}

TEST_CASE(what_the_dead_held_or_waited_for_is_free) {
    Fixture f;
    f.enrol(1, some(kRed));
    f.enrol(2, some(kRed));
    f.enrol(3, some(kRed));
    CHECK(f.acquire(1));
    CHECK(!f.acquire(2));
    CHECK(!f.acquire(3));
    f.limiter.withdraw(2);
    f.limiter.withdraw(1);
    CHECK(f.acquire(3));
    CHECK_EQUAL(f.limiter.in_use(kRed), 1U);
}

TEST_CASE(there_is_an_end_to_resources) {
    Fixture f;
    for (std::uint64_t key = 1; key <= kMaxResources; ++key) CHECK(f.limiter.set_limit(key, 1));
    CHECK(!f.limiter.set_limit(kMaxResources + 1, 1));
    CHECK(!f.limiter.enrol(1, 1, 0, some(kMaxResources + 1)));
}

TEST_CASE(a_process_killed_while_it_counts_leaves_sums_that_are_counted_anew) {
    Fixture f;
    f.enrol(1, some(kRed));
    f.enrol(2, some(kRed));
    CHECK(f.acquire(2));
    const auto child = fork();
    if (child == 0) {
        auto& header = f.memory.at<LimiterHeader>(0);
        pthread_mutex_lock(&header.mutex.native);
        f.memory.at<LimiterResource>(sizeof(LimiterHeader)).in_use = 99;
        kill(getpid(), SIGKILL);
    }
    waitpid(child, nullptr, 0);
    CHECK_EQUAL(f.limiter.in_use(kRed), 1U);
    f.limiter.release(2, true);
    CHECK(f.acquire(1));
}

int main() { return mpserve::check::run_all(); }
