// Counters of one generation of a model version, in the segment of its queue.
//
// Layout (behind the queue's instances)
//
//     FrontendCounters[kMaxRings] | BatchRow[kBatchRows] | ResponseRow[kResponseRows]
//
// Guarantees
//   - Each word has one writer at a time, so that counting is a load and a store without a lock
//   prefix.
//   - A successor (a respawned frontend or worker) goes on with the words of its predecessor: no
//   count
//     ever goes down while the segment lives.
//   - What is counted of a request is counted before its client can see the answer.
// Assumes: readers add up words that are not of one instant; each for itself is exact.
// Owner: the queue's. Writers: the frontend of a ring, the worker of an instance.
// After a death: at most the counts of the requests that were being counted are missing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "mpserve/status.hpp"

namespace mpserve {

inline constexpr std::uint32_t kMaxRings = 64;
inline constexpr std::uint32_t kBatchRows = 256;
inline constexpr std::uint32_t kNoBatchRow = UINT32_MAX;
inline constexpr std::uint32_t kResponseRows = 64;

// Why a request failed, as Triton's metrics tell it.
enum class FailureReason : std::uint32_t { rejected = 0, canceled = 1, backend = 2, other = 3 };
inline constexpr std::uint32_t kFailureReasons = 4;

// The reason of a request that was accepted and ended with this status.
constexpr FailureReason failure_reason(Status status) noexcept {
    switch (status) {
        case Status::deadline:
        case Status::not_ready: return FailureReason::rejected;
        case Status::cancelled: return FailureReason::canceled;
        case Status::ok:
        case Status::exhausted:
        case Status::load_failed:
        case Status::malformed: return FailureReason::other;
        case Status::unknown:
        case Status::internal:
        case Status::invalid_argument:
        case Status::not_found:
        case Status::unavailable:
        case Status::unsupported:
        case Status::already_exists:
        case Status::model_failed: return FailureReason::backend;
    }
    return FailureReason::other;
}

using Counter = std::atomic<std::uint64_t>;
static_assert(Counter::is_always_lock_free);

// Only for the one writer of the word.
inline void count(Counter& counter, std::uint64_t value) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
}

// Of one instance; written by its worker. Durations of a batch count for each of its requests, as
// the peers have it; `executions` counts batches.
struct InstanceCounters {
    Counter requests_ok;
    Counter requests_failed;
    Counter inferences;  // rows of requests that succeeded
    Counter executions;
    Counter queue_ns;
    Counter input_ns;
    Counter execute_ns;
    Counter output_ns;
    Counter last_inference_unix_ms;
    Counter arena_used_bytes;   // of the worker's arena: what there is, no count
    Counter arena_total_bytes;  // likewise
};

// Of what one frontend asked of the queue; written by that frontend.
struct alignas(64) FrontendCounters {
    Counter successes;
    Counter success_ns;  // from submission to the answer
    Counter failure_ns;
    std::array<Counter, kFailureReasons> failures;
    Counter unpushed;  // accepted requests that wait in the frontend: what there is, no count
};
static_assert(sizeof(FrontendCounters) == 64);

// Executions of one instance with one number of rows. `key` is 0 for a free row.
struct BatchRow {
    Counter key;  // (instance + 1) << 32 | rows
    Counter executions;
    Counter input_ns;
    Counter execute_ns;
    Counter output_ns;
    std::uint64_t reserved_[3];
};
static_assert(sizeof(BatchRow) == 64);

// The n-th responses of a decoupled model's instance. `key` is 0 for a free row.
struct alignas(64) ResponseRow {
    Counter key;  // (instance + 1) << 32 | number of the response, from 0
    Counter infer_ns;
    Counter output_ns;
    Counter successes;
    Counter success_ns;
    Counter failures;
    Counter failure_ns;
    Counter empties;  // the mark that no more follow
    Counter empty_ns;
    std::uint64_t reserved_[7];
};
static_assert(sizeof(ResponseRow) == 128);

constexpr std::uint64_t batch_key(std::uint32_t instance, std::uint32_t rows) noexcept {
    return (std::uint64_t{instance} + 1) << 32 | rows;
}

// The row of (instance, rows), taken from the free ones at first use. With none left: the row of
// the same instance whose size is nearest, so that the sum over the rows stays right; `nullptr`
// when the instance has no row at all.
BatchRow* claim_batch_row(std::span<BatchRow> table, std::uint32_t instance,
                          std::uint32_t rows) noexcept;

// Likewise the row of (instance, number of the response).
ResponseRow* claim_response_row(std::span<ResponseRow> table, std::uint32_t instance,
                                std::uint32_t number) noexcept;

}  // namespace mpserve
