// What an instance counts of the batches that it executed.

#include "instance_port.hpp"

#include <algorithm>
#include <ctime>

#include "mpserve/wake.hpp"

namespace mpserve::bind {

// Before any answer is sent, so that who has an answer finds it counted.
void InstancePort::count_batch(std::uint64_t executed_ns) noexcept {
    std::uint64_t succeeded = 0;
    std::uint64_t succeeded_rows = 0;
    std::uint64_t rows = 0;
    std::uint64_t queued_ns = 0;
    std::uint64_t popped_ns = started_ns_;
    for (const auto& active : active_) {
        const auto& request = static_cast<const PoppedLease*>(active.lease.get())->popped();
        rows += request.request.rows;
        popped_ns = std::min(popped_ns, request.popped_ns);
        if (active.completion.status != static_cast<std::uint32_t>(Status::ok)) continue;
        ++succeeded;
        succeeded_rows += request.request.rows;
        queued_ns += request.popped_ns - request.enqueued_ns;
    }
    auto& counters = queue_.counters(instance_);
    count(counters.requests_ok, succeeded);
    count(counters.requests_failed, active_.size() - succeeded);
    count_arena(counters);
    if (succeeded == 0) return;
    const auto input_ns = started_ns_ - popped_ns;
    const auto execute_ns = executed_ns - started_ns_;
    const auto output_ns = now_ns() - executed_ns;
    count(counters.inferences, succeeded_rows);
    count(counters.queue_ns, queued_ns);
    count(counters.input_ns, input_ns * succeeded);
    count(counters.execute_ns, execute_ns * succeeded);
    count(counters.output_ns, output_ns * succeeded);
    counters.last_inference_unix_ms.store(unix_ms(), std::memory_order_relaxed);
    count_execution(rows, input_ns, execute_ns, output_ns);
}

void InstancePort::count_execution(std::uint64_t rows, std::uint64_t input_ns,
                                   std::uint64_t execute_ns, std::uint64_t output_ns) noexcept {
    count(queue_.counters(instance_).executions, 1);
    auto* row = batch_row(static_cast<std::uint32_t>(std::min<std::uint64_t>(rows, UINT32_MAX)));
    if (row == nullptr) return;
    count(row->executions, 1);
    count(row->input_ns, input_ns);
    count(row->execute_ns, execute_ns);
    count(row->output_ns, output_ns);
}

void InstancePort::count_arena(InstanceCounters& counters) const noexcept {
    counters.arena_used_bytes.store(arena_.used_bytes(), std::memory_order_relaxed);
    counters.arena_total_bytes.store(arena_.total_bytes(), std::memory_order_relaxed);
}

std::uint64_t InstancePort::unix_ms() noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

// The row of a batch of this size; a batch is mostly of the size of the one before.
BatchRow* InstancePort::batch_row(std::uint32_t rows) noexcept {
    if (batch_row_ == nullptr || rows != batch_row_rows_) {
        batch_row_ = claim_batch_row(queue_.batch_rows(), instance_, rows);
        batch_row_rows_ = rows;
    }
    return batch_row_;
}

}  // namespace mpserve::bind
