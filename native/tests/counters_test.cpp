#include "mpserve/counters.hpp"

#include <array>
#include <memory>
#include <thread>
#include <vector>

#include "check.hpp"
#include "mpserve/model_queue.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

struct Table {
    std::unique_ptr<BatchRow[]> rows = std::make_unique<BatchRow[]>(kBatchRows);
    std::span<BatchRow> view() { return {rows.get(), kBatchRows}; }
};

TEST_CASE(a_size_of_an_instance_has_one_row) {
    Table table;
    auto* first = claim_batch_row(table.view(), 0, 4);
    auto* other = claim_batch_row(table.view(), 1, 4);
    CHECK(first != nullptr && other != nullptr && first != other);
    CHECK(claim_batch_row(table.view(), 0, 4) == first);
    CHECK(claim_batch_row(table.view(), 0, 5) != first);
    CHECK(static_cast<std::uint32_t>(first->key.load()) == 4);
}

TEST_CASE(a_full_table_counts_with_the_nearest_size_of_the_same_instance) {
    Table table;
    auto* three = claim_batch_row(table.view(), 7, 3);
    auto* nine = claim_batch_row(table.view(), 7, 9);
    for (std::uint32_t rows = 1; rows <= kBatchRows - 2; ++rows) {
        CHECK(claim_batch_row(table.view(), 1, rows) != nullptr);
    }
    CHECK(claim_batch_row(table.view(), 7, 4) == three);
    CHECK(claim_batch_row(table.view(), 7, 100) == nine);
    CHECK(claim_batch_row(table.view(), 7, 1) == three);
    CHECK(claim_batch_row(table.view(), 2, 1) == nullptr);
}

TEST_CASE(rows_that_are_claimed_at_once_are_all_different) {
    Table table;
    constexpr std::uint32_t kClaimers = 4;
    constexpr std::uint32_t kSizes = kBatchRows / kClaimers;
    std::vector<std::thread> claimers;
    for (std::uint32_t instance = 0; instance < kClaimers; ++instance) {
        claimers.emplace_back([&table, instance] {
            for (std::uint32_t rows = 1; rows <= kSizes; ++rows) {
                count(claim_batch_row(table.view(), instance, rows)->executions, rows);
            }
        });
    }
    for (auto& claimer : claimers) claimer.join();
    for (const auto& row : table.view()) {
        CHECK(row.key.load() != 0);
        CHECK(row.executions.load() == static_cast<std::uint32_t>(row.key.load()));
    }
}

TEST_CASE(every_failure_has_a_reason) {
    CHECK(failure_reason(Status::deadline) == FailureReason::rejected);
    CHECK(failure_reason(Status::not_ready) == FailureReason::rejected);
    CHECK(failure_reason(Status::cancelled) == FailureReason::canceled);
    CHECK(failure_reason(Status::unavailable) == FailureReason::backend);
    CHECK(failure_reason(Status::model_failed) == FailureReason::backend);
    CHECK(failure_reason(Status::exhausted) == FailureReason::other);
    for (std::uint32_t status = 0; status < kStatusCount; ++status) {
        CHECK(static_cast<std::uint32_t>(failure_reason(static_cast<Status>(status))) <
              kFailureReasons);
    }
}

TEST_CASE(a_queue_counts_apart_from_its_slots) {
    constexpr std::uint32_t kSlots = 4;
    SharedMemory memory(ModelQueue::required_bytes(kSlots));
    ModelQueue queue;
    CHECK(queue.format(memory.segment(), kSlots, 1));
    count(queue.frontend_counters(kMaxRings - 1).successes, 2);
    count(queue.batch_rows()[kBatchRows - 1].output_ns, 3);
    count(queue.counters(kMaxInstances - 1).arena_total_bytes, 4);
    count(queue.response_rows()[kResponseRows - 1].empty_ns, 5);
    ModelQueue again;  // as a successor maps it
    CHECK(again.attach(memory.segment()));
    CHECK(again.frontend_counters(kMaxRings - 1).successes.load() == 2);
    CHECK(again.batch_rows()[kBatchRows - 1].output_ns.load() == 3);
    CHECK(again.counters(kMaxInstances - 1).arena_total_bytes.load() == 4);
    CHECK(again.response_rows()[kResponseRows - 1].empty_ns.load() == 5);
    CHECK(again.depth() == 0 && again.running() == 0);
}

}  // namespace

int main() { return mpserve::check::run_all(); }
