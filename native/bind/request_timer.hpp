// Moments at which a frontend must look whether a request still waits.
//
// Guarantees: `on_due` is called by the loop within a millisecond after each moment that was added,
//   as far as the loop is free; one timer of the loop at a time is enough.
// Assumes: one thread, the GIL held. Tokens of requests that were answered meanwhile may stay until
//   their moment (due_tokens.hpp); who takes them finds nobody.
// Owner: the dispatcher.
#pragma once

#include <cstdint>
#include <utility>

#include <nanobind/nanobind.h>

#include "mpserve/due_tokens.hpp"

namespace mpserve::bind {

class RequestTimer {
public:
    // `call_later(seconds, callback)` is the loop's.
    explicit RequestTimer(nanobind::object call_later) : call_later_(std::move(call_later)) {}

    // `is_wanted(token)` says of earlier ones whether they still are.
    template <typename IsWanted>
    void add(std::uint64_t at_ns, std::uint64_t token, const IsWanted& is_wanted) {
        waiting_.add(at_ns, token, is_wanted);
    }
    // The token of a moment that passed; 0 when there is none.
    std::uint64_t take_due(std::uint64_t now) noexcept { return waiting_.take(now); }
    // Sets the loop's timer for the next moment, unless it goes off before that anyway. A loop
    // counts milliseconds from the begin of its turn: its timer may go off before its moment.
    void arm(std::uint64_t now, const nanobind::object& on_due) {
        const auto at_ns = waiting_.next_ns();
        if (at_ns == 0) return;
        if (armed_ns_ != 0 && armed_ns_ <= at_ns) return;
        if (armed_ns_ != 0) timer_.attr("cancel")();
        armed_ns_ = at_ns;
        const auto wait_ms = at_ns > now ? (at_ns - now) / kMillisecondNs + 1 : 0;
        timer_ = call_later_(static_cast<double>(wait_ms) * 1e-3, on_due);
    }
    // The loop's timer went off.
    void went_off() {
        armed_ns_ = 0;
        timer_.reset();
    }

private:
    static constexpr std::uint64_t kMillisecondNs = 1'000'000;

    nanobind::object call_later_;
    nanobind::object timer_;  // the loop's
    DueTokens waiting_;
    std::uint64_t armed_ns_ = 0;  // for when the loop's timer is set; 0: it is not
};

}  // namespace mpserve::bind
