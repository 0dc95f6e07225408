#include "mpserve/trace_board.hpp"

namespace mpserve {

bool TraceBoard::format(Segment segment) noexcept {
    if (segment.bytes() < required_bytes()) return false;
    segment.format(SegmentKind::tracing);
    return attach(segment);
}

bool TraceBoard::attach(Segment segment) noexcept {
    if (segment.check(SegmentKind::tracing) != kLayoutVersion) return false;
    header_ = segment.at<TraceBoardHeader>(0);
    counts_ = segment.at<TraceCount>(sizeof(TraceBoardHeader), kTraceSlots);
    return header_ != nullptr && counts_ != nullptr;
}

bool TraceBoard::sample(std::uint32_t slot, std::uint32_t rate, std::int64_t limit) noexcept {
    if (rate == 0 || slot >= kTraceSlots) return false;
    auto& count = counts_[slot];
    const auto number = count.seen.fetch_add(1, std::memory_order_relaxed) + 1;
    if (number % rate != 0) return false;
    if (limit != kUnlimited && count.made.load(std::memory_order_relaxed) >= limit) return false;
    const auto before = count.made.fetch_add(1, std::memory_order_relaxed);
    return limit == kUnlimited || before < limit;
}

std::uint64_t TraceBoard::next_id() noexcept {
    return header_->last_id.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint64_t TraceBoard::next_ticket() noexcept {
    return header_->next_ticket.fetch_add(1, std::memory_order_relaxed);
}

void TraceBoard::reset(std::uint32_t slot) noexcept {
    if (slot >= kTraceSlots) return;
    counts_[slot].seen.store(0, std::memory_order_relaxed);
    counts_[slot].made.store(0, std::memory_order_relaxed);
}

std::int64_t TraceBoard::made(std::uint32_t slot) const noexcept {
    return slot < kTraceSlots ? counts_[slot].made.load(std::memory_order_relaxed) : 0;
}

}  // namespace mpserve
