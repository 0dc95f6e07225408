// The sequences of one model queue: who they are, which instance holds each, what of them waits.
//
// Layout (behind the queue's slots; the queue's robust mutex guards all of it)
//
//     SequenceHeader | SequenceEntry[entries] | uint32 bucket[buckets] | SequencedSlot[queue slots]
//
// An entry is free, in the backlog, or active: it then has one slot (a row of the batch, with the
// direct strategy) of one instance until it ends. A SequencedSlot says of the queue's slot of the
// same index to which entry its request belongs. The truth is `state`, `instance`, `slot` and
// `ended` of an entry and `entry`, `flags` and `verdict` of a request; lists, buckets and counts
// are derived from it.
//
// Guarantees
//   - All requests of a sequence are with one entry, in the order in which they were pushed, from
//     whatever frontend; an instance is given at most one of them at a time.
//   - A slot of an instance has at most one sequence. A slot that comes free goes to the first
//     sequence of the backlog; a new sequence is not placed while others wait.
//   - A sequence from which nothing is heard for `idle_ns` is let go, unless it waits for a slot.
//   - A request whose sequence has ended is not lost: it is *doomed*, and the next instance that
//     pops answers it with the reason.
// Assumes: every call but `required_bytes`, `format` and `attach` is made inside the queue's lock.
// Owner: the model queue.
// After a death inside the lock: `begin_repair`, then `adopt_running` and `add_waiting` for what
//   the queue's slots say, then `end_repair`.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "mpserve/segment.hpp"

namespace mpserve {

struct QueueSlot;

inline constexpr std::uint32_t kNoSequence = UINT32_MAX;
inline constexpr std::uint32_t kSequenceInstances = 64;  // as many as a queue has
inline constexpr std::size_t kMaxSequenceText = 128;     // bytes of a correlation id that is a text

// How a queue keeps sequences.
struct SequenceRule {
    std::uint32_t slots = 0;  // sequences that one instance holds at once; 0: no sequences at all
    std::uint32_t reserved_ = 0;
    std::uint64_t idle_ns = 0;
};

// Correlation id: a number that is not 0, or a text.
struct SequenceKey {
    std::uint64_t number;
    std::uint32_t text_bytes;
    std::uint32_t reserved_;
    char text[kMaxSequenceText];

    // False when the text is too long.
    bool set(std::uint64_t given_number, std::string_view given_text) noexcept;
    std::string_view text_view() const noexcept { return {text, text_bytes}; }
    bool operator==(const SequenceKey& other) const noexcept;
};
static_assert(sizeof(SequenceKey) == 144);

// What a pushed request says of its sequence.
struct SequenceMark {
    SequenceKey key;
    std::uint32_t flags;  // kSequenceStart, kSequenceEnd
    std::uint32_t reserved_;
    std::uint64_t timeout_ns;  // how long it may wait for a slot; 0: for ever
};

// Why a request is answered without being executed.
enum class SequenceVerdict : std::uint32_t {
    none = 0,
    cancelled = 1,  // another request of its sequence was cancelled
    timed_out = 2,  // it waited too long for a slot
    lost = 3,       // the start of its sequence was lost with the process that had sent it
};

enum class SequenceState : std::uint32_t { free = 0, backlog = 1, active = 2 };

struct SequenceEntry {
    std::atomic<std::uint32_t> state;
    std::uint32_t instance;
    std::uint32_t slot;
    std::uint32_t ended;  // 1: its last request was pushed; a new one of its id is another sequence
    std::uint64_t serial;    // grows with each sequence: tells two of one id apart
    std::uint64_t heard_ns;  // when a request came or was finished
    std::uint32_t first;     // waiting requests, in order of arrival
    std::uint32_t last;
    std::uint32_t waiting;
    std::uint32_t running;
    std::uint32_t next;  // in the free list, the backlog, or the instance's list (by slot)
    std::uint32_t previous;
    std::uint32_t next_in_bucket;
    std::uint32_t reserved_;
    SequenceKey key;
};
static_assert(sizeof(SequenceEntry) == 208);

struct SequencedSlot {
    std::uint32_t entry;
    std::uint32_t flags;
    std::uint32_t next;  // of the entry, or of the doomed
    std::uint32_t previous;
    std::uint32_t verdict;
    std::uint32_t reserved_;
    std::uint64_t due_ns;  // it may wait for a slot no longer; 0: for ever
};
static_assert(sizeof(SequencedSlot) == 32);

struct SequenceList {
    std::uint32_t head;
    std::uint32_t tail;
    std::uint32_t count;
    std::uint32_t reserved_;
};

struct SequenceHeader {
    std::uint32_t entries;  // 0: the queue has no sequences
    std::uint32_t buckets;  // a power of two
    SequenceRule rule;
    std::uint64_t next_serial;
    std::uint64_t look_ns;         // no sequence is idle for too long before
    std::uint64_t backlog_due_ns;  // no request has waited too long for a slot before
    std::uint32_t free_head;
    std::uint32_t backlog_requests;
    std::uint32_t live;
    std::uint32_t reserved_;
    SequenceList backlog;
    SequenceList doomed;
    std::array<SequenceList, kSequenceInstances> instances;
};
static_assert(sizeof(SequenceHeader) == 1120);

class SequenceTable {
public:
    static std::uint64_t required_bytes(std::uint32_t queue_slots,
                                        const SequenceRule& rule) noexcept;
    // At `offset` of the queue's segment. False when it does not fit.
    bool format(const Segment& segment, std::uint64_t offset, std::uint32_t queue_slots,
                const SequenceRule& rule) noexcept;
    // Whether the queue has sequences.
    bool attach(const Segment& segment, std::uint64_t offset, QueueSlot* queue_slots,
                std::uint32_t queue_slot_count) noexcept;
    explicit operator bool() const noexcept { return header_ != nullptr; }

    const SequenceRule& rule() const noexcept { return header_->rule; }
    void set_slots(std::uint32_t slots) noexcept { header_->rule.slots = slots; }
    const SequenceEntry& entry(std::uint32_t index) const noexcept { return entries_[index]; }
    const SequencedSlot& slot(std::uint32_t index) const noexcept { return slots_[index]; }
    // Sequences that have not ended, and those that did but whose requests are not all done.
    std::uint32_t live() const noexcept { return header_->live; }
    std::uint32_t backlog_requests() const noexcept { return header_->backlog_requests; }
    bool has_backlog() const noexcept { return header_->backlog.count != 0; }
    std::uint32_t held_by(std::uint32_t instance) const noexcept {
        return header_->instances[instance].count;
    }
    std::uint32_t first_of(std::uint32_t instance) const noexcept {
        return header_->instances[instance].head;
    }

    // The sequence that a further request of this id belongs to; kNoSequence: there is none.
    std::uint32_t find(const SequenceKey& key) const noexcept;
    // A new sequence of this id at the end of the backlog; kNoSequence: there is no room. It is
    // free again unless a request is added before the lock is released.
    std::uint32_t create(const SequenceKey& key, std::uint64_t now) noexcept;
    // Says to whom the request in the queue's slot `index` will belong once it is waiting.
    void mark(std::uint32_t index, std::uint32_t sequence, const SequenceMark& mark,
              std::uint64_t now) noexcept;
    // The request was made waiting, in the queue or anew: it joins its sequence, or the doomed.
    void add_waiting(std::uint32_t index) noexcept;
    // A request that does not wait any more. The sequence ends with it if it was its last.
    void remove_waiting(std::uint32_t index) noexcept;
    void begin_running(std::uint32_t index) noexcept;
    void finish(std::uint32_t index, std::uint64_t now) noexcept;

    // The sequence takes no more requests; what waits of it is doomed.
    void end(std::uint32_t sequence, SequenceVerdict verdict) noexcept;
    // No sequence takes requests any more; what waits stays where it is.
    void end_all() noexcept;
    // The sequence is over and nothing of it waits or runs.
    void release(std::uint32_t sequence) noexcept;
    void release_if_over(std::uint32_t sequence) noexcept;
    // Its id may name a new sequence from here.
    void close(std::uint32_t sequence) noexcept;
    // Lets go of what was not heard of for too long, and of what waited too long for a slot.
    void settle(std::uint64_t now) noexcept;
    // Gives free slots of these instances to the backlog. Returns the instances that got any.
    std::uint64_t place_backlog(std::uint64_t active) noexcept;
    // Lets go of every sequence of which nothing waits or runs: no more requests will come.
    void release_quiet() noexcept;
    std::uint32_t first_doomed() const noexcept { return header_->doomed.head; }
    // When `settle` would do something for an instance that waits for nothing else; 0: never.
    std::uint64_t look_again_ns(bool for_idle) const noexcept;

    void begin_repair() noexcept;
    void adopt_running(std::uint32_t index) noexcept;
    void end_repair() noexcept;

private:
    SequenceList& list_of(const SequenceEntry& entry) noexcept;
    void append(SequenceList& list, std::uint32_t sequence) noexcept;
    void insert_by_slot(std::uint32_t sequence) noexcept;
    void remove(SequenceList& list, std::uint32_t sequence) noexcept;
    void put_free(std::uint32_t sequence) noexcept;
    void adopt(std::uint32_t index) noexcept;
    void add_key(std::uint32_t sequence) noexcept;
    void remove_key(std::uint32_t sequence) noexcept;
    std::uint32_t& bucket_of(const SequenceKey& key) const noexcept;
    void doom(std::uint32_t index, SequenceVerdict verdict) noexcept;
    void append_doomed(std::uint32_t index) noexcept;
    void release_idle(std::uint64_t now) noexcept;
    void end_overdue(std::uint64_t now) noexcept;
    bool place(std::uint32_t sequence, std::uint64_t active) noexcept;
    std::uint32_t lowest_free_slot(std::uint32_t instance) const noexcept;

    SequenceHeader* header_ = nullptr;
    SequenceEntry* entries_ = nullptr;
    std::uint32_t* buckets_ = nullptr;
    SequencedSlot* slots_ = nullptr;
    QueueSlot* queue_slots_ = nullptr;
};

}  // namespace mpserve
