#include "mpserve/batch_plan.hpp"

#include <algorithm>

namespace mpserve {

bool BatchPlan::offer(const BatchCandidate& candidate) noexcept {
    if (requests_ == 0) {
        digest_ = candidate.shape_digest;
        oldest_ns_ = candidate.enqueued_ns;
    } else {
        const auto grown = rows_ + candidate.rows;
        // Past the largest preferred size no better one can come.
        if (grown > largest_preferred() && preferred_requests_ == 0)
            preferred_requests_ = requests_;
        if (grown > rule_.max_rows || candidate.shape_digest != digest_) {
            closed_ = true;
            return false;
        }
        oldest_ns_ = std::min(oldest_ns_, candidate.enqueued_ns);  // priorities change the order
    }
    rows_ += candidate.rows;
    ++requests_;
    if (is_preferred(rows_)) preferred_requests_ = requests_;
    closed_ = requests_ >= rule_.max_requests || rows_ >= rule_.max_rows;
    return !closed_;
}

BatchDecision BatchPlan::decide(std::uint64_t now_ns) const noexcept {
    const auto due_ns = oldest_ns_ + rule_.max_delay_ns;
    const bool too_late = rule_.max_delay_ns != 0 && now_ns >= due_ns;
    if (preferred_requests_ != 0 && !too_late) return {.take = preferred_requests_};
    const bool grows_for_nothing = closed_ || rows_ >= largest_preferred();
    if (grows_for_nothing || too_late || rule_.max_delay_ns == 0) return {.take = requests_};
    return {.take = 0, .missing_rows = missing_rows(), .look_again_ns = due_ns};
}

std::uint32_t BatchPlan::largest_preferred() const noexcept {
    return rule_.preferred_rows.empty() ? rule_.max_rows : rule_.preferred_rows.back();
}

bool BatchPlan::is_preferred(std::uint64_t rows) const noexcept {
    const auto& sizes = rule_.preferred_rows;
    return std::find(sizes.begin(), sizes.end(), rows) != sizes.end();
}

// To the next preferred size, which is larger than what is there. Each request brings at least one
// row, so the bound of requests is met no earlier than with as many rows.
std::uint32_t BatchPlan::missing_rows() const noexcept {
    const auto& sizes = rule_.preferred_rows;
    const auto next = std::upper_bound(sizes.begin(), sizes.end(), rows_);
    const std::uint64_t target = next == sizes.end() ? rule_.max_rows : *next;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(target - rows_, rule_.max_requests - requests_));
}

}  // namespace mpserve
