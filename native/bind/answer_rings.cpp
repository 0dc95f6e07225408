#include "answer_rings.hpp"

#include <unistd.h>

#include <string_view>
#include <utility>

#include "mpserve/wake.hpp"
#include "shared_objects.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr int kDescriptorsGone = 74;  // EX_IOERR
constexpr std::string_view kGoneText =
    "this worker can not tell anybody of its answers: its model has closed descriptors that it did "
    "not open (os.closerange?)\n";

// The push has taken the mark that the frontend sleeps, so nobody else would wake it, and the
// answers of all models would wait with this one. After the end of this process the reaper does.
void wake_frontend(int fd) noexcept {
    if (eventfd_signal(fd)) return;
    [[maybe_unused]] const auto told = write(STDERR_FILENO, kGoneText.data(), kGoneText.size());
    _exit(kDescriptorsGone);
}

}  // namespace

AnswerRings::AnswerRings(nb::list rings, std::vector<int> wake_fds, nb::object attach_ring)
    : attach_ring_(std::move(attach_ring)) {
    if (rings.size() != wake_fds.size()) {
        throw nb::value_error("rings, wake_fds: one of each for every frontend");
    }
    for (std::size_t index = 0; index < wake_fds.size(); ++index) {
        nb::object owner = rings[index];
        auto* ring = &nb::cast<RingObject&>(owner).ring;
        frontends_.push_back({.owner = std::move(owner),
                              .ring = ring,
                              .wake_fd = wake_fds[index],
                              .to_wake = false,
                              .waiting = {}});
    }
}

bool AnswerRings::know(const PoppedRequest& request) {
    if (find(request) != nullptr) return true;
    try {
        auto owner = attach_ring_(request.frontend, request.frontend_epoch);
        auto* ring = &nb::cast<RingObject&>(owner).ring;
        callers_.insert_or_assign(key_of(request), Outlet{.owner = std::move(owner),
                                                          .ring = ring,
                                                          .wake_fd = kNoFd,
                                                          .to_wake = false,
                                                          .waiting = {}});
        return true;
    } catch (nb::python_error& error) {
        if (!error.matches(PyExc_OSError)) throw;
        return false;
    }
}

AnswerRings::Outlet* AnswerRings::find(const PoppedRequest& request) noexcept {
    if (request.ring < frontends_.size()) return &frontends_[request.ring];
    const auto found = callers_.find(key_of(request));
    return found == callers_.end() ? nullptr : &found->second;
}

void AnswerRings::wake(Outlet& outlet) noexcept {
    if (outlet.wake_fd == kNoFd) {
        outlet.ring->wake_sleeper();
    } else {
        wake_frontend(outlet.wake_fd);
    }
}

void AnswerRings::push(const PoppedRequest& request, const Completion& completion) noexcept {
    auto* outlet = find(request);
    if (outlet == nullptr) return;
    bool is_asleep = false;
    // Behind what waits already: the order of one producer is kept.
    if (!outlet->waiting.empty() || outlet->ring->push({&completion, 1}, is_asleep) == 0) {
        outlet->waiting.push_back(completion);
        ++waiting_;
        is_asleep = true;
    }
    if (!is_asleep) return;
    if (!batching_) return wake(*outlet);
    outlet->to_wake = true;
    wakes_wait_ = true;
}

void AnswerRings::end_batch() noexcept {
    batching_ = false;
    if (!std::exchange(wakes_wait_, false)) return;
    for (auto& outlet : frontends_) {
        if (std::exchange(outlet.to_wake, false)) wake(outlet);
    }
    for (auto& [key, outlet] : callers_) {
        if (std::exchange(outlet.to_wake, false)) wake(outlet);
    }
}

void AnswerRings::flush(Outlet& outlet) noexcept {
    while (!outlet.waiting.empty()) {
        bool is_asleep = false;
        if (outlet.ring->push({&outlet.waiting.front(), 1}, is_asleep) == 0) return;
        if (is_asleep) wake(outlet);
        outlet.waiting.pop_front();
        --waiting_;
    }
}

bool AnswerRings::flush() noexcept {
    for (auto& outlet : frontends_) flush(outlet);
    for (auto& [key, outlet] : callers_) flush(outlet);
    return has_waiting();
}

void AnswerRings::signal(std::uint64_t rings) noexcept {
    for (std::size_t ring = 0; ring < frontends_.size(); ++ring) {
        if ((rings >> ring) & 1) wake_frontend(frontends_[ring].wake_fd);
    }
}

void AnswerRings::forget_gone(const Board& board) noexcept {
    std::erase_if(callers_, [&](const auto& item) {
        const auto process = static_cast<std::uint32_t>(item.first >> 32);
        const auto epoch = static_cast<std::uint32_t>(item.first);
        if (board.is_current(process, epoch)) return false;
        waiting_ -= item.second.waiting.size();
        return true;
    });
}

}  // namespace mpserve::bind
