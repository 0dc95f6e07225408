// Segments of other processes' arenas, attached when first met and forgotten when their owner is
// dead or removed them.
//
// Owner: one per process that borrows blocks. A mapping that is still looked into outlives its
// entry.
#pragma once

#include <cstdint>
#include <unordered_map>

#include <nanobind/nanobind.h>

#include "mapping.hpp"
#include "mpserve/arena.hpp"
#include "mpserve/board.hpp"

namespace mpserve::bind {

// A block that this process borrowed from another.
struct BorrowedBlock {
    MappingRef first;   // segment 0 of the owner's arena
    MappingRef holder;  // segment of the block
    BlockRef ref = 0;
    const std::byte* data = nullptr;
    std::uint64_t bytes = 0;

    explicit operator bool() const noexcept { return data != nullptr; }
    // Gives the block back to its owner; once.
    void give_back() noexcept {
        if (data == nullptr) return;
        mpserve::give_back(first->segment(), holder->segment(), ref);
        data = nullptr;
    }
};

class PeerSegments {
public:
    // `attach(process_index, epoch, number)` returns the mapped segment or raises.
    explicit PeerSegments(nanobind::object attach) : attach_(std::move(attach)) {}

    // An empty block when the owner's segment is gone or the reference does not hold.
    BorrowedBlock borrow(std::uint32_t process, std::uint32_t epoch, BlockRef ref,
                         std::uint64_t bytes);
    // Drops the mappings of dead processes and of removed segments.
    void forget_gone(const Board& board);
    // Whether it maps segments that their owners may remove before they end: all but the first.
    bool may_go() const noexcept;

private:
    const MappingRef* find(std::uint32_t process, std::uint32_t epoch, std::uint32_t number);

    nanobind::object attach_;
    std::unordered_map<std::uint64_t, MappingRef> peers_;
    std::uint64_t deaths_seen_ = 0;
};

}  // namespace mpserve::bind
