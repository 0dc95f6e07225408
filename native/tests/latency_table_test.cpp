// How latencies are put into buckets.

#include "mpserve/latency_table.hpp"

#include <memory>

#include "check.hpp"

using namespace mpserve;

TEST_CASE(a_bucket_is_no_wider_than_a_thirty_second) {
    std::uint32_t before = 0;
    for (std::uint64_t us = 1; us < std::uint64_t{1} << 34; us += 1 + us / 100) {
        const auto bucket = latency_bucket(us);
        CHECK(bucket >= before);
        CHECK(latency_bucket(us + us / 32 + 1) > bucket);
        before = bucket;
    }
}

TEST_CASE(summaries_keep_sum_and_count) {
    const auto table = std::make_unique<LatencyTable>();
    table->format({.summaries = true});
    table->observe(LatencyKind::queue, 7'900);
    table->observe(LatencyKind::queue, 7'000);
    table->observe(LatencyKind::output, 0);
    CHECK_EQUAL(table->sum_us[1].load(), 14u);
    CHECK_EQUAL(table->buckets[1][7].load(), 2u);
    CHECK_EQUAL(table->buckets[4][0].load(), 1u);
    CHECK_EQUAL(table->first_bounds, 0u);
}

TEST_CASE(first_responses_are_counted_between_bounds) {
    const auto table = std::make_unique<LatencyTable>();
    constexpr double kBounds[] = {-1.0, 0.0, 1.0, 2.5};
    table->format({.first_bounds_ms = kBounds});
    for (const std::uint64_t us : {900, 1'000, 1'999, 2'000, 3'000}) {
        table->observe_first(us * 1'000);
    }
    CHECK_EQUAL(table->first_sum_ms.load(), 7u);
    constexpr std::uint64_t kCounts[] = {0, 1, 2, 1, 1};
    for (std::size_t index = 0; index < 5; ++index) {
        CHECK_EQUAL(table->first[index].load(), kCounts[index]);
    }
}

int main() { return mpserve::check::run_all(); }
