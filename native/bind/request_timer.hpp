// Moments at which a frontend must look whether a request still waits.
//
// Guarantees: `on_due` is called by the loop within a millisecond after each moment that was added,
//   as far as the loop is free; one timer of the loop at a time is enough.
// Assumes: one thread, the GIL held. Tokens of requests that were answered meanwhile stay until
//   their moment; who takes them finds nobody.
// Owner: the dispatcher.
#pragma once

#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

class RequestTimer {
public:
    // `call_later(seconds, callback)` is the loop's.
    explicit RequestTimer(nanobind::object call_later) : call_later_(std::move(call_later)) {}

    void add(std::uint64_t at_ns, std::uint64_t token) { waiting_.emplace(at_ns, token); }
    bool is_idle() const noexcept { return waiting_.empty(); }
    // The token of a moment that passed; 0 when there is none.
    std::uint64_t take_due(std::uint64_t now) {
        if (waiting_.empty() || waiting_.top().first > now) return 0;
        const auto token = waiting_.top().second;
        waiting_.pop();
        return token;
    }
    // Sets the loop's timer for the next moment, unless it goes off before that anyway. A loop
    // counts milliseconds from the begin of its turn: its timer may go off before its moment.
    void arm(std::uint64_t now, const nanobind::object& on_due) {
        if (waiting_.empty()) return;
        const auto at_ns = waiting_.top().first;
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
    using Moment = std::pair<std::uint64_t, std::uint64_t>;  // when, token
    static constexpr std::uint64_t kMillisecondNs = 1'000'000;

    nanobind::object call_later_;
    nanobind::object timer_;  // the loop's
    std::priority_queue<Moment, std::vector<Moment>, std::greater<>> waiting_;
    std::uint64_t armed_ns_ = 0;  // for when the loop's timer is set; 0: it is not
};

}  // namespace mpserve::bind
