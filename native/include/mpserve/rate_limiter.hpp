// Resources that executions of all models share: who may execute now, and who waits.
//
// Layout
//
//     LimiterHeader | LimiterResource[kMaxResources] | LimiterClaim[processes]
//
// A claim is one instance's, at its process index. It is idle, waits, or holds what it needs.
//
// Guarantees
//   - What is held of a resource never sums to more than its limit: the one that was set, else the
//     most that any living claim needs.
//   - Among those who wait, the smallest `priority * executions` goes first, then who waits
//   longest.
//     Who can not have a resource yet keeps it from those behind: nobody starves.
// Assumes: the supervisor enrols a worker before it starts and withdraws it when it is reaped.
// Owner: the supervisor makes it; with `--rate-limit=off` there is none.
// After a death inside the lock: the sums are counted anew from the claims (`repair`).
// Source: Triton's rate limiter, as specified.
//
// Sleeping: a claim that waits reads its wake word inside the lock; who grants it changes the word.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "mpserve/robust_mutex.hpp"
#include "mpserve/segment.hpp"

namespace mpserve {

inline constexpr std::uint32_t kMaxResources = 64;
inline constexpr std::uint32_t kMaxNeeds = 8;  // of one claim

enum class ClaimState : std::uint32_t { absent = 0, idle = 1, waiting = 2, holding = 3 };

// How much of a resource an execution takes. `key` is a digest of its name; 0: nothing.
struct ResourceNeed {
    std::uint64_t key;
    std::uint32_t count;
    std::uint32_t reserved_;
};
static_assert(sizeof(ResourceNeed) == 16);

struct LimiterHeader {
    SegmentHeader segment;
    RobustMutex mutex;
    std::uint32_t processes;
    std::uint32_t claims_end;  // 1 + the largest index that was enrolled
    std::uint64_t next_turn;
    std::uint64_t reserved_[6];
};
static_assert(sizeof(LimiterHeader) == 192);

struct LimiterResource {
    std::uint64_t key;    // 0: none
    std::uint32_t limit;  // that was set; 0: the most that is needed
    std::uint32_t most;   // that a claim needs
    std::uint32_t in_use;
    std::uint32_t reserved_[3];
};
static_assert(sizeof(LimiterResource) == 32);

struct alignas(64) LimiterClaim {
    std::atomic<std::uint32_t> wake_word;
    std::uint32_t state;
    std::uint32_t epoch;
    std::uint32_t priority;
    std::uint64_t executions;
    std::uint64_t turn;  // when it began to wait
    std::array<ResourceNeed, kMaxNeeds> needs;
    std::uint64_t reserved_[4];
};
static_assert(sizeof(LimiterClaim) == 192);

class RateLimiter {
    static constexpr std::uint64_t kClaimsOffset =
        sizeof(LimiterHeader) + kMaxResources * sizeof(LimiterResource);

public:
    static constexpr std::uint64_t required_bytes(std::uint32_t processes) noexcept {
        return kClaimsOffset + std::uint64_t{processes} * sizeof(LimiterClaim);
    }
    bool format(Segment segment, std::uint32_t processes) noexcept;
    bool attach(Segment segment) noexcept;

    // Supervisor. False when there are too many resources.
    bool set_limit(std::uint64_t key, std::uint32_t limit) noexcept;
    bool enrol(std::uint32_t process, std::uint32_t epoch, std::uint32_t priority,
               std::span<const ResourceNeed> needs) noexcept;
    // The process is dead: what it held is free.
    void withdraw(std::uint32_t process) noexcept;

    // Worker. True when it may execute; else it is woken when it may, and sleeps on `wake_seen`.
    bool acquire(std::uint32_t process, std::uint32_t& wake_seen) noexcept;
    // After an execution, wanting another: gives back what it holds and waits in line with the
    // others. True when it is its turn again; else as `acquire`.
    bool renew(std::uint32_t process) noexcept;
    // Gives back what it holds after an execution, or, when `executed` is false, without one. Who
    // waits does not any more.
    void release(std::uint32_t process, bool executed) noexcept;
    std::atomic<std::uint32_t>& wake_word(std::uint32_t process) noexcept {
        return claims_[process].wake_word;
    }

    std::uint32_t in_use(std::uint64_t key) noexcept;
    std::uint32_t limit(std::uint64_t key) noexcept;

private:
    void wait(LimiterClaim& claim) noexcept;
    LimiterResource* find(std::uint64_t key) noexcept;
    LimiterResource* find_or_make(std::uint64_t key) noexcept;
    static std::uint32_t limit_of(const LimiterResource& resource) noexcept;
    void repair() noexcept;
    void count_most() noexcept;
    void add(const LimiterClaim& claim) noexcept;
    void subtract(const LimiterClaim& claim) noexcept;
    bool fits(const LimiterClaim& claim, std::uint64_t kept) noexcept;
    std::uint64_t mask_of(const LimiterClaim& claim) noexcept;
    // Grants in turn; wakes those who got what they need.
    void grant() noexcept;

    LimiterHeader* header_ = nullptr;
    LimiterResource* resources_ = nullptr;
    LimiterClaim* claims_ = nullptr;
    std::uint32_t processes_ = 0;
};

}  // namespace mpserve
