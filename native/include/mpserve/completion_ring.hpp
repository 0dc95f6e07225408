// Finished requests on their way to one frontend: many producers (workers, the reaper), one
// consumer.
//
// Layout: RingHeader (mutex, armed, tail and head each on a cache line of their own),
//   Completion[capacity], capacity a power of two.
// Guarantees: an entry that was pushed is seen by the consumer in push order; the consumer, once it
//   announced that it sleeps (`arm`), is woken by exactly one producer: by an eventfd (a frontend,
//   whose loop waits for much else) or by the futex of `armed` itself (a worker that calls models).
// Assumes: one consumer at a time (the frontend of that index); producers are trusted processes.
// Owner: the supervisor makes those of frontends; they outlive their frontends, so a respawned one
//   goes on reading. A worker makes its own, which ends with it.
// After a death: a producer killed inside the lock leaves at most unpublished entries, which the
//   next producer overwrites. One killed after `armed` was taken and before the consumer was woken
//   leaves a sleeping consumer: whoever reaps a process wakes them all (see `ModelQueue::reap_*`).
// A consumer killed in the middle leaves entries to be read again by its successor, which drops
// what
//   carries another epoch.
//
// Why no wake-up is lost: the producer stores the tail, then reads `armed`; the consumer stores
// `armed`,
//   then reads the tail again. All four are seq_cst, so in their one order one of the two reads
//   comes after the other side's store: either the consumer does not sleep, or the producer wakes
//   it.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "mpserve/robust_mutex.hpp"
#include "mpserve/segment.hpp"

namespace mpserve {

// The answer's input block is still lent: the model kept a view of it.
inline constexpr std::uint16_t kInputsLeased = 1u << 0;
// More answers follow for this token.
inline constexpr std::uint16_t kMoreFollow = 1u << 1;
// No answer: the worker's last view of the input block `block` is gone. It comes after the answer
// that said `kInputsLeased`, because a ring keeps the order of one producer.
inline constexpr std::uint16_t kInputsReturned = 1u << 2;
// The last of a request's answers, without outputs: only the mark that no more follow.
inline constexpr std::uint16_t kEmptyFinal = 1u << 3;
// An error without a text: the sequence of the request is lost with the worker that held it.
inline constexpr std::uint16_t kSequenceLost = 1u << 4;
// An error without a text: its worker was killed, as an execution took longer than `execute_ns`.
inline constexpr std::uint16_t kOverdue = 1u << 6;

// No answer: the stream in the queue's slot `input_ns` wants its next request.
inline constexpr std::uint16_t kWantsInput = 1u << 5;

struct Completion {
    std::uint64_t token;
    std::uint32_t frontend_epoch;
    std::uint16_t status;  // Status; not ok: `block` may hold a message with the error text
    std::uint16_t flags;
    std::uint32_t worker_index;  // process index; owner of `block`
    std::uint32_t worker_epoch;
    std::uint64_t block;  // BlockRef, 0: none
    std::uint64_t block_bytes;
    // Where the time went, for traces: popped, prepared, executed, answered.
    std::uint32_t input_ns;
    std::uint32_t output_ns;
    std::uint64_t popped_ns;  // 0: no instance has had it
    std::uint64_t execute_ns;
};
static_assert(sizeof(Completion) == 64);

struct RingHeader {
    SegmentHeader segment;
    RobustMutex mutex;
    alignas(64) std::atomic<std::uint64_t> tail;
    alignas(64) std::atomic<std::uint64_t> head;
    alignas(64) std::atomic<std::uint32_t> armed;
    std::uint32_t capacity;
    std::atomic<std::uint64_t> arena_used_bytes;  // of the consumer's arena, told now and then
    std::atomic<std::uint64_t> arena_total_bytes;
};
static_assert(sizeof(RingHeader) == 320);

class CompletionRing {
public:
    static constexpr std::uint64_t required_bytes(std::uint32_t capacity) noexcept {
        return sizeof(RingHeader) + capacity * sizeof(Completion);
    }
    bool format(Segment segment, std::uint32_t capacity) noexcept;
    bool attach(Segment segment) noexcept;

    // Producer. Number of entries taken, less than given when the ring is full. `wake` tells
    // whether the consumer must be signalled.
    std::size_t push(std::span<const Completion> entries, bool& wake) noexcept;

    // Consumer. Up to `out.size()` entries are copied and consumed.
    std::size_t pop(std::span<Completion> out) noexcept;
    // Announce sleep; true when the ring is empty and the consumer may sleep.
    bool arm() noexcept;
    // For a consumer that sleeps on the ring itself, without an eventfd, after `arm` said so:
    // until `wake_sleeper`, or `timeout_ns` passed.
    void sleep(std::uint64_t timeout_ns) noexcept;
    void wake_sleeper() noexcept;
    // The consumer tells of its arena, for whoever looks: nothing that the ring needs.
    void tell_arena(std::uint64_t used_bytes, std::uint64_t total_bytes) noexcept {
        header_->arena_used_bytes.store(used_bytes, std::memory_order_relaxed);
        header_->arena_total_bytes.store(total_bytes, std::memory_order_relaxed);
    }
    std::uint64_t arena_used_bytes() const noexcept {
        return header_->arena_used_bytes.load(std::memory_order_relaxed);
    }
    std::uint64_t arena_total_bytes() const noexcept {
        return header_->arena_total_bytes.load(std::memory_order_relaxed);
    }
    std::uint32_t capacity() const noexcept { return header_->capacity; }

private:
    RingHeader* header_ = nullptr;
    Completion* entries_ = nullptr;
};

}  // namespace mpserve
