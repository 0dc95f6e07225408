// Requests of sequences on the worker's side: rows without a request, and requests whose sequence
// has ended before they were executed.

#include <algorithm>
#include <numeric>

#include "inference_request.hpp"
#include "instance_port.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

struct Refusal {
    Status status;
    std::string_view text;
};

Refusal refusal_of(SequenceVerdict verdict) noexcept {
    switch (verdict) {
        case SequenceVerdict::cancelled:
            return {Status::cancelled,
                    "another request of the sequence was cancelled, which ended it"};
        case SequenceVerdict::timed_out:
            return {Status::deadline, "timeout of the corresponding sequence has been expired"};
        case SequenceVerdict::lost:
        case SequenceVerdict::none: break;
    }
    return {Status::unavailable,
            "the first request of the sequence was lost with the frontend that took it; start the "
            "sequence again"};
}

}  // namespace

void InstancePort::refuse_verdict(Active& active, SequenceVerdict verdict) {
    const auto [status, text] = refusal_of(verdict);
    refuse(active, status, text);
}

// Direct strategy: each request at the place of its slot; what lies between is filled.
void InstancePort::fill_rows(nb::list& requests) {
    if (active_.empty()) return;
    const auto slot_of = [this](std::size_t index) {
        return static_cast<PoppedLease*>(active_[index].lease.get())->popped().sequence_slot;
    };
    std::vector<std::size_t> order(active_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, slot_of);  // what was put off is behind what was taken
    const auto& pattern = *nb::inst_ptr<InferenceRequest>(requests[0]);
    const auto lease = active_.front().lease;
    std::vector<Active> rows;
    nb::list filled;
    for (const auto index : order) {
        const auto row = slot_of(index);
        while (rows.size() < row) {
            rows.emplace_back();
            filled.append(make_row_filler(lease, *pattern.view(), context_));
        }
        rows.push_back(std::move(active_[index]));
        filled.append(requests[index]);
    }
    active_ = std::move(rows);
    requests = std::move(filled);
}

void InstancePort::forget_fillers() noexcept {
    if (rule_.ready_slots != 0)
        std::erase_if(active_, [](const Active& active) { return !active.lease; });
}

}  // namespace mpserve::bind
