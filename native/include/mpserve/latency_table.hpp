// How the latencies of one generation are distributed; kept where the operator wants to know.
//
// Layout (at the end of the queue's segment, when there is one)
//
//     LatencyTable
//
// A bucket of a summary is a microsecond up to 32 of them, then a thirty-second of the power of two
// that it lies in: a quantile read from it is off by 1.6 % at most. `first` counts the first
// responses of a decoupled model between bounds that its configuration may say.
//
// Guarantees: no count goes down while the segment lives.
// Assumes: readers add up words that are not of one instant; each for itself is exact.
// Owner: the queue's. Writers: all frontends, and workers that call models, by atomic additions:
//   one table for all of them, because it is large and seldom wanted.
// After a death: at most the latencies of the request that was being counted are missing.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "mpserve/counters.hpp"

namespace mpserve {

// What is summed up: in this order in the table, and in what Python reads.
enum class LatencyKind : std::uint32_t { request = 0, queue, input, infer, output };
inline constexpr std::size_t kLatencyKinds = 5;
inline constexpr std::uint32_t kLatencySteps = 32;  // of one power of two
inline constexpr std::uint32_t kLatencyBuckets = 1024;
inline constexpr std::uint32_t kMaxFirstBounds = 64;

// The bucket of a number of microseconds; the last one takes all that are too large.
constexpr std::uint32_t latency_bucket(std::uint64_t us) noexcept {
    if (us < kLatencySteps) return static_cast<std::uint32_t>(us);
    const auto shift = static_cast<std::uint32_t>(std::bit_width(us)) - 6;
    const auto bucket = std::uint64_t{shift} * kLatencySteps + (us >> shift);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(bucket, kLatencyBuckets - 1));
}
static_assert(latency_bucket(31) == 31 && latency_bucket(32) == 32 && latency_bucket(63) == 63);
static_assert(latency_bucket(64) == 64 && latency_bucket(65) == 64 && latency_bucket(66) == 65);
static_assert(latency_bucket(UINT64_MAX) == kLatencyBuckets - 1);

struct LatencyRule {
    bool summaries = false;
    std::span<const double> first_bounds_ms{};  // ascending; none: first responses are not counted
};

struct alignas(64) LatencyTable {
    std::uint32_t summaries;
    std::uint32_t first_bounds;
    Counter first_sum_ms;
    std::uint64_t reserved_[6];
    std::array<double, kMaxFirstBounds> bounds_ms;
    std::array<Counter, kMaxFirstBounds + 1> first;
    std::array<Counter, kLatencyKinds> sum_us;
    std::array<std::array<Counter, kLatencyBuckets>, kLatencyKinds> buckets;

    void format(const LatencyRule& rule) noexcept {
        summaries = rule.summaries;
        first_bounds = static_cast<std::uint32_t>(
            std::min<std::size_t>(rule.first_bounds_ms.size(), kMaxFirstBounds));
        std::copy_n(rule.first_bounds_ms.begin(), first_bounds, bounds_ms.begin());
    }
    void observe(LatencyKind kind, std::uint64_t ns) noexcept {
        const auto us = ns / 1000;
        const auto index = static_cast<std::size_t>(kind);
        sum_us[index].fetch_add(us, std::memory_order_relaxed);
        buckets[index][latency_bucket(us)].fetch_add(1, std::memory_order_relaxed);
    }
    void observe_first(std::uint64_t ns) noexcept {
        const auto ms = ns / 1'000'000;
        const auto bounds = std::span(bounds_ms).first(std::min(first_bounds, kMaxFirstBounds));
        const auto bucket = std::ranges::lower_bound(bounds, static_cast<double>(ms));
        first_sum_ms.fetch_add(ms, std::memory_order_relaxed);
        first[static_cast<std::size_t>(bucket - bounds.begin())].fetch_add(
            1, std::memory_order_relaxed);
    }
};

}  // namespace mpserve
