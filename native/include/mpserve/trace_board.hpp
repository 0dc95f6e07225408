// Which requests are traced: counts that all processes of the server share.
//
// Layout
//
//     TraceBoardHeader | TraceCount[kTraceSlots]
//
// A slot counts for one trace setting: slot 0 for the server's, the others for those of models.
//
// Guarantees
//   - Of the requests that ask `sample` of one slot, whatever process they are in, exactly each
//     `rate`-th is told that it is traced, and at most `limit` are.
//   - Ids and tickets are given once each, from 1 and from 0 on.
// Assumes: a slot is reset by the supervisor alone, when its setting changes; what is asked
// meanwhile
//   may be counted for the old or the new one.
// Owner: the supervisor makes it; frontends and workers that call models ask it, but only while
//   something is traced.
// After a death: each count is one atomic word, so nothing is left half done.
#pragma once

#include <atomic>
#include <cstdint>

#include "mpserve/segment.hpp"

namespace mpserve {

inline constexpr std::uint32_t kTraceSlots = 256;

struct TraceBoardHeader {
    SegmentHeader segment;
    std::atomic<std::uint64_t> last_id;
    std::atomic<std::uint64_t> next_ticket;
    std::uint64_t reserved_[6];
};
static_assert(sizeof(TraceBoardHeader) == 128);

struct alignas(64) TraceCount {
    std::atomic<std::uint64_t> seen;
    std::atomic<std::int64_t> made;
};
static_assert(sizeof(TraceCount) == 64);

class TraceBoard {
public:
    static constexpr std::int64_t kUnlimited = -1;
    static constexpr std::uint64_t required_bytes() noexcept {
        return sizeof(TraceBoardHeader) + kTraceSlots * sizeof(TraceCount);
    }
    bool format(Segment segment) noexcept;
    bool attach(Segment segment) noexcept;

    // Whether this request is traced; a rate of 0 traces none.
    bool sample(std::uint32_t slot, std::uint32_t rate, std::int64_t limit) noexcept;
    std::uint64_t next_id() noexcept;
    std::uint64_t next_ticket() noexcept;

    // Supervisor.
    void reset(std::uint32_t slot) noexcept;
    std::int64_t made(std::uint32_t slot) const noexcept;

private:
    TraceBoardHeader* header_ = nullptr;
    TraceCount* counts_ = nullptr;
};

}  // namespace mpserve
