// Where a worker's answers go: the completion rings of the frontends, known from the start, and
// those of other workers that sent it requests (callers), attached when first met.
//
// Guarantees: answers for one ring keep their order; one that finds its ring full waits for room
// without holding up answers for others. What waits for a process that died is dropped.
// After a death between a push and its wake: the reaper wakes every frontend. A process that has
// lost a frontend's descriptor ends (exit code 74).
// Assumes: the GIL is held. Only `know` runs Python code.
// Owner: the worker's instance port.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include <nanobind/nanobind.h>

#include "mpserve/board.hpp"
#include "mpserve/completion_ring.hpp"
#include "mpserve/model_queue.hpp"

namespace mpserve::bind {

class AnswerRings {
public:
    // `rings` and `wake_fds` are the frontends', in their order; `attach_ring(process_index,
    // epoch)` returns the ring of a caller or raises OSError when it is gone.
    AnswerRings(nanobind::list rings, std::vector<int> wake_fds, nanobind::object attach_ring);

    // False when the request's answer has nowhere to go: its caller is gone.
    bool know(const PoppedRequest& request);
    void push(const PoppedRequest& request, const Completion& completion) noexcept;
    // Whom a push would wake is woken by `end_batch`, once.
    void begin_batch() noexcept { batching_ = true; }
    void end_batch() noexcept;
    // Pushes what waits for room; true when some still does.
    bool flush() noexcept;
    bool has_waiting() const noexcept { return waiting_ != 0; }
    // Frontends of this mask have room in a queue again. Callers look by themselves.
    void signal(std::uint64_t rings) noexcept;
    // Drops what dead callers left.
    void forget_gone(const Board& board) noexcept;

private:
    static constexpr int kNoFd = -1;

    struct Outlet {
        nanobind::object owner;  // RingObject
        CompletionRing* ring = nullptr;
        int wake_fd = kNoFd;  // of a frontend; a caller sleeps on its ring
        bool to_wake = false;
        std::deque<Completion> waiting;
    };

    static std::uint64_t key_of(const PoppedRequest& request) noexcept {
        return std::uint64_t{request.frontend} << 32 | request.frontend_epoch;
    }
    static void wake(Outlet& outlet) noexcept;
    Outlet* find(const PoppedRequest& request) noexcept;
    void flush(Outlet& outlet) noexcept;

    std::vector<Outlet> frontends_;
    std::unordered_map<std::uint64_t, Outlet> callers_;
    nanobind::object attach_ring_;
    std::size_t waiting_ = 0;
    bool batching_ = false;
    bool wakes_wait_ = false;
};

}  // namespace mpserve::bind
