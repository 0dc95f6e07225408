// Takes requests out of the model queue and makes the objects that the model sees.

#include "instance_port.hpp"

#include <algorithm>

#include "inference_request.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kReturnsRetryNs = 1'000'000;   // a full ring is looked at again
constexpr std::uint64_t kResourcesNs = 1'000'000'000;  // until it is looked again who may execute
constexpr std::uint32_t kOftenLooks = 10;              // of an idle instance, then they double
constexpr std::uint32_t kMostDoublings = 5;
constexpr std::uint32_t kRareLooks = kOftenLooks + kMostDoublings;
constexpr std::uint64_t kTrimNs = 1'000'000'000;  // between two looks at what is unused

}  // namespace

void InstancePort::accept(nb::list& requests, std::size_t popped) {
    for (std::size_t index = 0; index < popped; ++index) {
        const auto& request = popped_[index];
        auto block = peers_.borrow(request.frontend, request.frontend_epoch, request.request.block,
                                   request.request.block_bytes);
        const auto view = MessageView::open(block.data, request.request.block_bytes);
        // Whoever asked may be dead and its segments swept: nobody waits for an answer.
        if (!view || !answers_.know(request)) {
            done_.push_back(request.slot);
            continue;
        }
        auto* lease = new PoppedLease(*this, request, std::move(block));
        leases_.push_back(lease);
        Active active{.lease = LeaseRef(lease), .completion = {}};
        if (!lease->take_regions(*view, regions_)) {
            refuse(active, Status::invalid_argument, kRegionGone);
            continue;
        }
        if (request.verdict != SequenceVerdict::none) {
            refuse_verdict(active, request.verdict);
            continue;
        }
        requests.append(make_request(active.lease, *view, context_));
        active_.push_back(std::move(active));
    }
}

void InstancePort::trim(std::uint64_t now) {
    arena_.trim_idle();
    peers_.forget_gone(board_);
    answers_.forget_gone(board_);
    regions_.forget_gone();
    trim_at_ns_ = now + kTrimNs;
}

bool InstancePort::is_at_rest() const noexcept {
    return arena_.is_at_rest() && !peers_.may_go() && regions_.size() == 0 &&
           !answers_.has_waiting();
}

// Others give back what they hold after each execution; of the dead the supervisor does.
void InstancePort::hold_resources() noexcept {
    if (limiter_ == nullptr || holds_resources_) return;
    const nb::gil_scoped_release unlocked;
    std::uint32_t seen = 0;
    while (!limiter_->acquire(process_, seen)) {
        futex_wait(limiter_->wake_word(process_), seen, kResourcesNs);
    }
    holds_resources_ = true;
    waits_for_resources_ = false;
}

void InstancePort::release_resources(bool executed) noexcept {
    if (!holds_resources_ && !waits_for_resources_) return;
    holds_resources_ = waits_for_resources_ = false;
    limiter_->release(process_, executed);
}

// While more waits here the instance is in line before the others are served: who came only later
// would never have its turn against those that wait already.
void InstancePort::renew_resources() noexcept {
    if (!holds_resources_) return;
    if (queue_.depth() == 0 && rescheduled_.empty()) {
        release_resources(true);
        return;
    }
    holds_resources_ = limiter_->renew(process_);
    waits_for_resources_ = !holds_resources_;
}

// What holds nothing that may be given back or let go of later looks rarely from its first look on,
// others less and less often: thousands of idle instances cost next to nothing. Who dies is seen at
// once, because all are woken then.
std::uint64_t InstancePort::idle_ns(std::uint64_t timeout_ns) const noexcept {
    return timeout_ns << std::min(idle_looks_ - std::min(idle_looks_, kOftenLooks), kMostDoublings);
}

nb::list InstancePort::pop(std::uint32_t timeout_ms) {
    if (!active_.empty()) throw nb::value_error("pop: the last batch was not answered");
    const auto timeout_ns = std::uint64_t{timeout_ms} * 1'000'000;
    auto deadline = now_ns() + idle_ns(timeout_ns);
    renew_resources();
    // In turns, so that neither what waits nor what was rescheduled is left behind.
    if (again_is_next_ && !rescheduled_.empty()) {
        hold_resources();
        return give_again();
    }
    nb::list requests;
    for (;;) {
        if (answers_.has_waiting()) answers_.flush();
        arena_.collect();
        arena_.reclaim_dead(board_);
        std::size_t popped = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        auto rule = rule_;
        // Who is asked to end keeps nothing waiting for company.
        if (woken_.load(std::memory_order_acquire)) rule.max_delay_ns = 0;
        const auto outcome = queue_.pop(instance_, rule, done_, popped_, popped, starved, seen,
                                        now_ns(), limiter_ == nullptr || holds_resources_);
        done_.clear();
        if (starved != 0) answers_.signal(starved);
        if (outcome != PopOutcome::taken && !rescheduled_.empty()) {
            queue_.stay_busy(instance_);
            hold_resources();
            return give_again();
        }
        if (outcome == PopOutcome::limited) {
            hold_resources();  // meanwhile others may take what waits, or more may come
            continue;
        }
        if (outcome != PopOutcome::taken) release_resources(false);
        if (outcome == PopOutcome::retired) throw nb::stop_iteration();
        if (outcome == PopOutcome::taken) {
            // A sequence's requests are this instance's own: they are taken first.
            hold_resources();
            accept(requests, popped);
            if (nb::len(requests) == 0) continue;
            // Those that were put off go on in one execution with those that begin.
            if (sequence_slots_ != 0) {
                join_rescheduled(requests);
            } else {
                again_is_next_ = true;
            }
            if (rule_.ready_slots != 0) fill_rows(requests);
            idle_looks_ = 0;
            started_ns_ = now_ns();
            if (started_ns_ >= trim_at_ns_) trim(started_ns_);
            return requests;
        }
        if (woken_.exchange(false, std::memory_order_acq_rel)) return requests;
        if (has_news()) {
            queue_.stay_busy(instance_);
            return requests;
        }
        const auto now = now_ns();
        if (const auto deaths = board_.deaths(); deaths != deaths_seen_) {
            deaths_seen_ = deaths;
            trim(now);
            if (!is_at_rest()) {
                idle_looks_ = 0;
                deadline = std::min(deadline, now + timeout_ns);
            }
        }
        if (now >= deadline) {
            trim(now);
            if (is_at_rest()) {
                idle_looks_ = kRareLooks;
            } else if (regions_.size() == 0) {
                // Clients' memory is to be let go of soon after they say so, and nobody wakes us
                // for it.
                ++idle_looks_;
            }
            return requests;
        }
        auto until = deadline;
        if (answers_.has_waiting()) until = std::min(until, now + kReturnsRetryNs);
        if (const auto due = queue_.look_again_ns(instance_); due != 0)
            until = std::min(until, due);
        if (until <= now) continue;
        const nb::gil_scoped_release unlocked;
        futex_wait(queue_.wake_word(instance_), seen, until - now);
    }
}

}  // namespace mpserve::bind
