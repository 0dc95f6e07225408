// Which of the requests that wait go into the next batch, or how long it waits for company. Pure.
//
// Guarantees
//   - A batch has at least one request, requests of one shape, and no more rows or requests than
//   the
//     rule allows; a request with more rows goes alone. Order is kept: nothing is passed over.
//   - A batch waits only while it could still grow to a size that is preferred, and never longer
//   than
//     until its oldest request is `max_delay_ns` old. Without a delay it never waits.
// Source: Triton's dynamic batcher, as specified: a preferred size is sent at once, so is a batch
// that
//   can not grow; past the delay all that fits is sent.
#pragma once

#include <cstdint>
#include <span>

namespace mpserve {

// How requests may be put together.
struct BatchRule {
    std::uint32_t max_rows = 1;      // rows of one batch
    std::uint32_t max_requests = 1;  // requests of one batch
    std::uint64_t max_delay_ns = 0;  // how long the oldest request may wait for company
    std::span<const std::uint32_t> preferred_rows{};  // ascending; none: `max_rows` alone
    // Sequences, direct strategy: a request's row is its sequence's slot, and the delay ends when
    // so many slots have a request. 0: the oldest requests go together, wherever their slots are.
    std::uint32_t ready_slots = 0;
};

// What is asked of a request that waits.
struct BatchCandidate {
    std::uint64_t shape_digest;
    std::uint64_t enqueued_ns;
    std::uint32_t rows;
};

struct BatchDecision {
    std::uint32_t take = 0;           // requests to execute now; 0: wait
    std::uint32_t missing_rows = 0;   // wait until so many more are there,
    std::uint64_t look_again_ns = 0;  // or until this moment
};

// Fed with what waits, in order, until it says that the batch is closed.
class BatchPlan {
public:
    explicit BatchPlan(const BatchRule& rule) noexcept : rule_(rule) {}

    // Offers the next request; false when no further one can change the decision.
    bool offer(const BatchCandidate& candidate) noexcept;
    // At least one request was offered.
    BatchDecision decide(std::uint64_t now_ns) const noexcept;

private:
    std::uint32_t largest_preferred() const noexcept;
    bool is_preferred(std::uint64_t rows) const noexcept;
    std::uint32_t missing_rows() const noexcept;

    const BatchRule& rule_;
    std::uint64_t digest_ = 0;
    std::uint64_t oldest_ns_ = 0;
    std::uint64_t rows_ = 0;
    std::uint32_t requests_ = 0;
    std::uint32_t preferred_requests_ = 0;  // that make the largest preferred size; 0: none
    bool closed_ = false;
};

}  // namespace mpserve
