// The process table: who lives, by index and epoch. Made and changed by the supervisor, read by
// all.
//
// Layout: BoardHeader, BoardEntry[processes].
// Guarantees: (index, epoch) names one process for the server's life; an epoch is never given
// twice. Owner: the supervisor writes `begin` and `end`; everyone else only reads. After a death:
// `end` raises `deaths`, by which owners of arenas notice that blocks lent to the dead
//   process come back to them.
#pragma once

#include <atomic>
#include <cstdint>

#include "mpserve/segment.hpp"

namespace mpserve {

struct BoardHeader {
    SegmentHeader segment;
    std::uint32_t processes;
    std::uint32_t reserved_;
    std::atomic<std::uint64_t> deaths;
    std::uint64_t reserved_more_[6];
};
static_assert(sizeof(BoardHeader) == 128);

struct BoardEntry {
    std::atomic<std::uint32_t> epoch;  // 0: never used
    std::atomic<std::uint32_t> alive;
};
static_assert(sizeof(BoardEntry) == 8);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

class Board {
public:
    static constexpr std::uint64_t required_bytes(std::uint32_t processes) noexcept {
        return sizeof(BoardHeader) + processes * sizeof(BoardEntry);
    }
    Board() noexcept = default;
    // False when the segment is too small.
    bool format(Segment segment, std::uint32_t processes) noexcept {
        if (segment.bytes() < required_bytes(processes)) return false;
        segment.at<BoardHeader>(0)->processes = processes;
        segment.format(SegmentKind::board);
        return attach(segment);
    }
    bool attach(Segment segment) noexcept {
        if (segment.check(SegmentKind::board) != kLayoutVersion) return false;
        header_ = segment.at<BoardHeader>(0);
        entries_ = header_ == nullptr
                       ? nullptr
                       : segment.at<BoardEntry>(sizeof(BoardHeader), header_->processes);
        return entries_ != nullptr;
    }

    // Epoch of a process that is about to start at `index`; 0 for an index out of range.
    std::uint32_t begin(std::uint32_t index) noexcept {
        if (index >= header_->processes) return 0;
        auto& entry = entries_[index];
        const auto epoch = entry.epoch.load(std::memory_order_relaxed) + 1;
        entry.epoch.store(epoch, std::memory_order_relaxed);
        entry.alive.store(1, std::memory_order_release);
        return epoch;
    }
    // The process at `index` is dead and was reaped.
    void end(std::uint32_t index) noexcept {
        if (index >= header_->processes) return;
        entries_[index].alive.store(0, std::memory_order_release);
        header_->deaths.fetch_add(1, std::memory_order_acq_rel);
    }
    bool is_current(std::uint32_t index, std::uint32_t epoch) const noexcept {
        return index < header_->processes &&
               entries_[index].alive.load(std::memory_order_acquire) != 0 &&
               entries_[index].epoch.load(std::memory_order_acquire) == epoch;
    }
    std::uint64_t deaths() const noexcept {
        return header_->deaths.load(std::memory_order_acquire);
    }
    std::uint32_t processes() const noexcept { return header_->processes; }

private:
    BoardHeader* header_ = nullptr;
    BoardEntry* entries_ = nullptr;
};

}  // namespace mpserve
