#include "mpserve/batch_plan.hpp"

#include <array>
#include <random>
#include <vector>

#include "check.hpp"

using namespace mpserve;

namespace {

constexpr std::uint64_t kDelay = 100;
constexpr std::uint64_t kArrived = 1'000;  // of every request, unless said otherwise
constexpr std::array<std::uint32_t, 2> kFourAndEight{4, 8};
constexpr std::array<std::uint32_t, 1> kFour{4};

BatchCandidate candidate(std::uint32_t rows, std::uint64_t digest = 7,
                         std::uint64_t enqueued_ns = kArrived) {
    return {.shape_digest = digest, .enqueued_ns = enqueued_ns, .rows = rows};
}

using Waiting = std::vector<BatchCandidate>;

BatchDecision decide(const BatchRule& rule, const Waiting& waiting, std::uint64_t age_ns = 0) {
    BatchPlan plan(rule);
    for (const auto& one : waiting) {
        if (!plan.offer(one)) break;
    }
    return plan.decide(kArrived + age_ns);
}

Waiting ones(std::size_t count) { return Waiting(count, candidate(1)); }

BatchRule rule_of(std::uint32_t rows, std::uint64_t delay_ns = 0,
                  std::span<const std::uint32_t> preferred = {}) {
    return {.max_rows = rows,
            .max_requests = rows,
            .max_delay_ns = delay_ns,
            .preferred_rows = preferred};
}

}  // namespace

TEST_CASE(without_a_delay_what_waits_is_taken_at_once) {
    CHECK_EQUAL(decide(rule_of(8), ones(1)).take, 1u);
    CHECK_EQUAL(decide(rule_of(8), ones(5)).take, 5u);
    CHECK_EQUAL(decide(rule_of(8), ones(12)).take, 8u);
}

TEST_CASE(one_request_at_a_time_never_waits) {
    BatchRule rule{.max_rows = 8, .max_requests = 1, .max_delay_ns = kDelay, .preferred_rows = {}};
    CHECK_EQUAL(decide(rule, ones(3)).take, 1u);
}

TEST_CASE(without_a_delay_the_largest_preferred_size_goes_first) {
    CHECK_EQUAL(decide(rule_of(16, 0, kFourAndEight), ones(6)).take, 4u);
    CHECK_EQUAL(decide(rule_of(16, 0, kFourAndEight), ones(11)).take, 8u);
    CHECK_EQUAL(decide(rule_of(16, 0, kFourAndEight), ones(3)).take, 3u);
}

TEST_CASE(a_batch_waits_for_the_next_preferred_size_and_no_longer_than_its_oldest_may) {
    const auto early = decide(rule_of(16, kDelay, kFourAndEight), ones(1));
    CHECK_EQUAL(early.take, 0u);
    CHECK_EQUAL(early.missing_rows, 3u);
    CHECK_EQUAL(early.look_again_ns, kArrived + kDelay);
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFourAndEight), ones(3), kDelay - 1).take, 0u);
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFourAndEight), ones(3), kDelay).take, 3u);
}

TEST_CASE(a_preferred_size_is_sent_at_once_and_past_the_delay_all_that_fits_is) {
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFourAndEight), ones(4)).take, 4u);
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFourAndEight), ones(6)).take, 4u);
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFourAndEight), ones(6), kDelay).take, 6u);
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFourAndEight), ones(20), kDelay).take, 16u);
}

TEST_CASE(without_preferred_sizes_a_batch_waits_until_it_is_full) {
    CHECK_EQUAL(decide(rule_of(8, kDelay), ones(7)).missing_rows, 1u);
    CHECK_EQUAL(decide(rule_of(8, kDelay), ones(8)).take, 8u);
}

TEST_CASE(a_batch_that_can_not_grow_does_not_wait) {
    CHECK_EQUAL(decide(rule_of(8, kDelay), {candidate(5), candidate(4)}).take, 1u);
    CHECK_EQUAL(decide(rule_of(8, kDelay), {candidate(1), candidate(1, 9)}).take, 1u);
    CHECK_EQUAL(decide(rule_of(8, kDelay), {candidate(12)}).take, 1u);
}

TEST_CASE(past_the_largest_preferred_size_nothing_is_waited_for) {
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFour), {candidate(6)}).take, 1u);
    // 3 + 2 rows pass by 4: the three go, the two are the start of the next batch.
    CHECK_EQUAL(decide(rule_of(16, kDelay, kFour), {candidate(3), candidate(2)}).take, 1u);
}

TEST_CASE(the_bound_of_requests_is_seen_before_the_bound_of_rows) {
    BatchRule rule{.max_rows = 8, .max_requests = 3, .max_delay_ns = kDelay, .preferred_rows = {}};
    CHECK_EQUAL(decide(rule, ones(2)).missing_rows, 1u);
    CHECK_EQUAL(decide(rule, ones(3)).take, 3u);
}

TEST_CASE(the_oldest_request_decides_wherever_it_stands) {
    const Waiting waiting{candidate(1, 7, kArrived + 50), candidate(1, 7, kArrived)};
    CHECK_EQUAL(decide(rule_of(8, kDelay), waiting).look_again_ns, kArrived + kDelay);
}

// Whatever waits: a decision keeps the bounds, and one that waits can be woken by what it asks for.
TEST_CASE(any_decision_keeps_the_rule) {
    std::mt19937_64 random(mpserve::check::seed());
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::uint32_t> preferred;
        const auto max_rows = static_cast<std::uint32_t>(1 + random() % 16);
        for (std::uint32_t size = 1; size <= max_rows; ++size) {
            if (random() % 5 == 0) preferred.push_back(size);
        }
        const BatchRule rule{.max_rows = max_rows,
                             .max_requests = static_cast<std::uint32_t>(1 + random() % 16),
                             .max_delay_ns = random() % 3 == 0 ? 0 : kDelay,
                             .preferred_rows = preferred};
        Waiting waiting;
        for (auto count = 1 + random() % 20; count > 0; --count) {
            waiting.push_back(candidate(static_cast<std::uint32_t>(1 + random() % 5),
                                        random() % 8 / 7, kArrived + random() % 200));
        }
        const auto decision = decide(rule, waiting, random() % 300);
        if (decision.take == 0) {
            CHECK(rule.max_delay_ns != 0);
            CHECK(decision.missing_rows >= 1);
            CHECK(decision.look_again_ns <= kArrived + 200 + kDelay);
            // With one row less than it asks for it goes on waiting, if those come one by one.
            for (auto more = decision.missing_rows; more > 1; --more) {
                waiting.push_back(candidate(1, waiting[0].shape_digest, kArrived + 200));
            }
            CHECK_EQUAL(decide(rule, waiting).take, 0u);
            continue;
        }
        std::uint64_t rows = 0;
        for (std::uint32_t index = 0; index < decision.take; ++index) {
            CHECK_EQUAL(waiting[index].shape_digest, waiting[0].shape_digest);
            rows += waiting[index].rows;
        }
        CHECK(decision.take <= rule.max_requests);
        CHECK(decision.take == 1 || rows <= rule.max_rows);
    }
}

int main() { return mpserve::check::run_all(); }
