// Requests that a model wants to be given once more (TRITONSERVER_REQUEST_RELEASE_RESCHEDULE).
//
// They stay this instance's: what a model keeps of a sequence of steps is here. Should the worker
// die, they are answered with the rest of what it held.

#include <algorithm>

#include "inference_request.hpp"
#include "instance_port.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

nb::list InstancePort::put_off(nb::list requests) {
    nb::list gone;
    if (nb::len(requests) != active_.size()) {
        throw nb::value_error("put_off: all requests of the batch are needed");
    }
    std::vector<Active> left;
    nb::list stay;
    for (std::size_t index = 0; index < active_.size(); ++index) {
        if (!nb::inst_ptr<InferenceRequest>(requests[index])->is_rescheduled()) {
            if (nb::len(gone) != 0) {
                left.push_back(std::move(active_[index]));
                stay.append(requests[index]);
            }
            continue;
        }
        if (nb::len(gone) == 0) {  // the first one: those before it stay
            for (std::size_t before = 0; before < index; ++before) {
                left.push_back(std::move(active_[before]));
                stay.append(requests[before]);
            }
        }
        // A row without a request is not given again.
        if (active_[index].lease)
            rescheduled_.push_back(
                {.active = std::move(active_[index]), .request = requests[index]});
        gone.append(index);
    }
    if (nb::len(gone) == 0) return gone;
    active_ = std::move(left);
    if (PyList_SetSlice(requests.ptr(), 0, PY_SSIZE_T_MAX, stay.ptr()) != 0) {
        throw nb::python_error();
    }
    return gone;
}

nb::list InstancePort::give_again() {
    nb::list requests;
    started_ns_ = now_ns();
    join_rescheduled(requests);
    again_is_next_ = false;
    if (rule_.ready_slots != 0) fill_rows(requests);
    return requests;
}

// Adds what fits of the rescheduled requests, the longest waiting first. What does not is next.
void InstancePort::join_rescheduled(nb::list& requests) {
    again_is_next_ = false;
    if (rescheduled_.empty()) return;
    std::uint64_t rows = 0;
    for (const auto& active : active_)
        rows += static_cast<PoppedLease*>(active.lease.get())->popped().request.rows;
    std::deque<Rescheduled> left;
    const auto now = now_ns();
    for (auto& next : rescheduled_) {
        auto& lease = *static_cast<PoppedLease*>(next.active.lease.get());
        const auto& popped = lease.popped().request;
        const bool fits =
            active_.empty() ||
            (active_.size() < rule_.max_requests && rows + popped.rows <= rule_.max_rows &&
             popped.shape_digest == static_cast<PoppedLease*>(active_.front().lease.get())
                                        ->popped()
                                        .request.shape_digest);
        if (!fits) {
            left.push_back(std::move(next));
            continue;
        }
        rows += popped.rows;
        lease.begin_again(now);
        nb::inst_ptr<InferenceRequest>(next.request)->begin_again();
        requests.append(next.request);
        active_.push_back(std::move(next.active));
    }
    rescheduled_ = std::move(left);
    again_is_next_ = !rescheduled_.empty();
}

}  // namespace mpserve::bind
