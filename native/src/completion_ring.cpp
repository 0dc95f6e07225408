#include "mpserve/completion_ring.hpp"

#include <algorithm>
#include <bit>

#include "mpserve/wake.hpp"

namespace mpserve {

bool CompletionRing::format(Segment segment, std::uint32_t capacity) noexcept {
    if (!std::has_single_bit(capacity) || segment.bytes() < required_bytes(capacity)) return false;
    auto* header = segment.at<RingHeader>(0);
    header->capacity = capacity;
    if (!header->mutex.initialise()) return false;
    segment.format(SegmentKind::ring);
    return attach(segment);
}

bool CompletionRing::attach(Segment segment) noexcept {
    if (segment.check(SegmentKind::ring) != kLayoutVersion) return false;
    header_ = segment.at<RingHeader>(0);
    if (header_ == nullptr || !std::has_single_bit(header_->capacity)) return false;
    entries_ = segment.at<Completion>(sizeof(RingHeader), header_->capacity);
    return entries_ != nullptr;
}

std::size_t CompletionRing::push(std::span<const Completion> entries, bool& wake) noexcept {
    std::size_t taken = 0;
    {
        const RobustLock lock(header_->mutex);  // nothing to repair: the tail is stored last
        const auto tail = header_->tail.load(std::memory_order_relaxed);
        const auto head =
            header_->head.load(std::memory_order_acquire);  // pairs with [H1] in pop()
        const std::uint64_t room = header_->capacity - (tail - head);
        taken = std::min<std::uint64_t>(entries.size(), room);
        for (std::size_t index = 0; index < taken; ++index) {
            entries_[(tail + index) & (header_->capacity - 1)] = entries[index];
        }  // killed here: the entries are unpublished
        header_->tail.store(tail + taken, std::memory_order_seq_cst);  // COMMIT [T1]
    }
    wake = header_->armed.load(std::memory_order_seq_cst) != 0 &&
           header_->armed.exchange(0, std::memory_order_seq_cst) != 0;
    return taken;
}

std::size_t CompletionRing::pop(std::span<Completion> out) noexcept {
    const auto head = header_->head.load(std::memory_order_relaxed);
    const auto tail = header_->tail.load(std::memory_order_acquire);  // pairs with [T1]
    const auto count = std::min<std::uint64_t>(tail - head, out.size());
    for (std::size_t index = 0; index < count; ++index) {
        out[index] = entries_[(head + index) & (header_->capacity - 1)];
    }
    header_->head.store(head + count, std::memory_order_release);  // [H1]
    return count;
}

bool CompletionRing::arm() noexcept {
    header_->armed.store(1, std::memory_order_seq_cst);
    return header_->tail.load(std::memory_order_seq_cst) ==
           header_->head.load(std::memory_order_relaxed);
}

void CompletionRing::sleep(std::uint64_t timeout_ns) noexcept {
    futex_wait(header_->armed, 1, timeout_ns);
}

void CompletionRing::wake_sleeper() noexcept {
    // Also when the mark was taken by a producer that died before it woke anybody.
    header_->armed.store(0, std::memory_order_seq_cst);
    futex_wake(header_->armed);
}

}  // namespace mpserve
