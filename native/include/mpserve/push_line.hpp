// Requests that a frontend has accepted for one queue and not yet pushed: by level, and among
// equals in the order in which they came.
//
// Layout: one line for each level that has any, the most urgent first.
//
//     level 1:  taken | taken | waits | gone | waits        level 2:  waits | waits
//                               ^ front(): up to the next gap, or the end of its level
//
// Guarantees: to add, to take back and to drop cost the same on average however many wait; what was
//   taken back is never in `front`. A line that is empty keeps little memory.
// Assumes: one thread at a time.
// Owner: the frontend's port to the queue.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mpserve/model_queue.hpp"

namespace mpserve {

class PushLine {
public:
    // Behind all of its level; returns the serial by which it may be taken back.
    std::uint64_t add(QueuePush push);
    // False when it is not here (any more).
    bool take_back(std::uint64_t level, std::uint64_t serial) noexcept;
    bool holds(std::uint64_t level, std::uint64_t serial) noexcept {
        return waiting_at(level, serial) != nullptr;
    }
    // Those that go next, one behind the other and at most so many; empty when nothing waits.
    std::span<QueuePush> front(std::size_t most) noexcept;
    // The first `count` of `front` are on their way.
    void drop(std::size_t count) noexcept;
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }

private:
    struct Level {
        std::uint64_t level = 0;
        std::size_t taken = 0;
        std::vector<QueuePush> waiting;
    };

    using Levels = std::vector<Level>;

    Levels::iterator find(std::uint64_t level) noexcept;
    QueuePush* waiting_at(std::uint64_t level, std::uint64_t serial) noexcept;
    void skip_gone(Levels::iterator line) noexcept;

    Levels levels_;  // none is empty, but for the last one left
    std::size_t size_ = 0;
    std::uint64_t last_serial_ = 0;
};

}  // namespace mpserve
