// Requests of one generation of one model version; its instances pull from it.
//
// Layout
//
//     QueueHeader | InstanceEntry[kMaxInstances] | FrontendCounters[kMaxRings] |
//     BatchRow[kBatchRows] | ResponseRow[kResponseRows] | QueueSlot[slots] | sequences
//     (sequence_table.hpp; when there are any) | LatencyTable (when it is kept)
//
// A slot is free, waiting (in the list by `next`/`previous`), running (held by an instance), or
// expired (its deadline passed while it waited; its frontend collects it). `state` of a slot is the
// truth; the free list, the waiting list and the counts are derived from it.
//
// Guarantees
//   - A request is held by at most one instance; the mark is made inside the lock, so that a worker
//     that dies right after a pop is known to have held it.
//   - Strictly by level, lower numbers first; FIFO in a level, but those that were delayed by their
//     deadline come after all others of it. No level holds more than its pushers allow.
//   - A request whose deadline passed is not taken; when that is noticed it expires or is delayed,
//     as its pusher said.
//   - Work-conserving: no instance sleeps while a request waits, but for the one that gathers, and
//     for a millisecond where those awake will be quicker (wake_rule.hpp).
//   - A batch that waits for company (`BatchRule::max_delay_ns`) is nobody's: it is taken when it
//   is
//     complete or due, whole and by one instance. At most one instance gathers, the others are
//     idle.
//   - A push that found no room is told when slots come free (`starved`).
// Assumes: participants are processes of one server; clients' bytes never come here.
// Owner: the supervisor makes it and retires it.
// After a death inside the lock: the next locker rebuilds the lists from the slots' states
// (`repair`).
//   A worker's requests are answered by `reap_instance`, a frontend's are dropped by
//   `reap_frontend`.
//
// Streams of requests: further requests of one that runs go through its slot, one at a time.
//
//     worker: asks (a completion) ──▶ frontend: lends a block, `give_input` ──▶ `input` of the slot
//        ▲                                                                          │
//        └── the block goes back (a completion) ◀── the model ◀── `take_input` ◀────┘
//
//   `input` is 0, a block's reference, "the client has sent all", or "the model wants no more".
//   Only the frontend of the request changes 0 to something, inside the lock, while the slot is
//   running and still its own; only the worker that runs it takes that out, without the lock. A
//   frontend that dies leaves at most a block of an arena that ends with it; a worker that dies,
//   a block that was lent to it, as all others that it had.
//
// Sleeping: an instance announces `idle` inside the lock when it found nothing; a pusher picks idle
// instances inside the lock, clears the mark and changes their wake word; the futex compares the
// word, so a wake between unlock and sleep is not lost. The same holds for an instance that
// gathers: it notes in its entry what it waits for, and a pusher wakes it when that is there; it
// looks again by itself at `look_again_ns`. When a batch leaves requests behind, who takes it wakes
// an idle instance for them. Of the idle ones who holds the fewest requests is woken: an instance
// that answers streams, or whose requests wait for something, is idle as well.
//
// How many a push wakes: wake_rule.hpp.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "mpserve/batch_plan.hpp"
#include "mpserve/counters.hpp"
#include "mpserve/latency_table.hpp"
#include "mpserve/robust_mutex.hpp"
#include "mpserve/segment.hpp"
#include "mpserve/sequence_table.hpp"
#include "mpserve/status.hpp"
#include "mpserve/wake.hpp"
#include "mpserve/wake_rule.hpp"

namespace mpserve {

inline constexpr std::uint32_t kMaxInstances = 64;
inline constexpr std::uint32_t kNoSlot = UINT32_MAX;

enum class SlotState : std::uint32_t { free = 0, waiting = 1, running = 2, expired = 3 };
enum class InstanceState : std::uint32_t { absent = 0, active = 1, retiring = 2 };

// What becomes of a request whose deadline passes while it waits.
enum class OnTimeout : std::uint32_t { reject = 0, delay = 1 };

// A request as it lies in the queue.
struct QueueRequest {
    std::uint64_t token;
    std::uint64_t block;  // BlockRef in the frontend's arena
    std::uint64_t block_bytes;
    std::uint64_t deadline_ns;  // until which it may wait; 0: none
    std::uint64_t shape_digest;
    std::uint64_t level;       // the lowest is the most urgent
    std::uint32_t rows;        // rows of a batch, at least 1
    std::uint32_t on_timeout;  // OnTimeout
};

// What a frontend pushes, and what became of it.
struct QueuePush {
    QueueRequest request;
    std::uint32_t max_waiting = 0;  // of its level, itself among them; 0: no limit
    bool refused = false;           // its level was full
    bool gone = false;              // taken back before it was pushed; see push_line.hpp
    std::uint64_t serial = 0;       // in the line of its pusher
};

struct QueueSlot {
    std::atomic<std::uint32_t> state;
    std::uint32_t next;
    std::uint32_t previous;
    std::uint32_t instance;
    std::uint32_t instance_epoch;
    std::uint32_t frontend;  // process index
    std::uint32_t frontend_epoch;
    std::uint32_t ring;
    std::uint64_t sequence;
    std::uint64_t enqueued_ns;
    std::uint64_t popped_ns;
    QueueRequest request;
    std::atomic<std::uint32_t> cancelled;  // 1: nobody waits for the answer of what runs here
    std::uint32_t delayed;                 // 1: behind all others of its level
    std::atomic<std::uint64_t> input;      // of a stream that runs: its next request; see below
};
static_assert(sizeof(QueueRequest) == 56);
static_assert(sizeof(QueueSlot) == 128);

// What a slot's `input` may be besides the BlockRef of a request in the frontend's arena, which is
// lent to the worker. The frontend puts one where there is none; the worker takes it, or closes.
inline constexpr std::uint64_t kNoInput = 0;
inline constexpr std::uint64_t kInputsEnd = UINT64_MAX;         // the client has sent all
inline constexpr std::uint64_t kInputsClosed = UINT64_MAX - 1;  // the model wants no more

struct alignas(64) InstanceEntry {
    std::atomic<std::uint32_t> wake_word;
    std::uint32_t state;
    std::uint32_t process;
    std::uint32_t epoch;
    std::uint32_t max_requests;     // of its batches; set when it goes idle
    std::uint32_t missing_rows;     // while it gathers: rows until the batch is complete
    std::uint64_t gathered_digest;  // while it gathers: another shape ends it
    std::uint64_t look_again_ns;    // read by the instance itself, which alone writes it
    // Of a worker that sends requests itself; written by it alone, read by who looks for circles.
    std::atomic<std::uint64_t> sent;           // caller's process index << 32 | requests in flight
    std::atomic<std::uint64_t> sent_changes;   // grows whenever `sent` is told
    std::atomic<std::uint64_t> waits_from_ns;  // since when it does nothing else; 0: it does
    InstanceCounters counters;
    std::uint32_t holds;     // requests that run here; derived from the slots
    std::uint32_t moved_at;  // when it was here last, or called for; see moment_of()
};
static_assert(sizeof(InstanceEntry) == 192);

struct QueueHeader {
    SegmentHeader segment;
    RobustMutex mutex;
    std::uint32_t slot_count;
    std::uint32_t retired;
    std::uint32_t free_head;
    std::uint32_t wait_head;
    std::uint32_t wait_tail;
    std::uint32_t wait_count;
    std::uint32_t running_count;
    std::uint32_t gatherer;  // 1 + the instance that waits for more requests; 0: none
    std::uint64_t idle_mask;
    std::uint64_t starved_rings;  // bit i: the frontend of ring i waits for free slots
    std::uint64_t next_sequence;
    std::uint64_t generation;
    std::uint64_t next_deadline_ns;  // none of what waits is earlier; 0: none has any
    std::uint32_t expired_count;
    std::uint32_t reserved_small_;
    std::uint64_t ordered_mask;      // instances that wait until those before them have answered
    std::uint64_t latencies_offset;  // 0: none are kept
    std::uint64_t active_mask;       // instances that take requests; derived from their states
    std::uint64_t usual_ns;          // about the median of executions; 0: none was seen
    std::uint64_t taken;             // requests that instances have taken so far
    std::uint64_t reserved_;
};
static_assert(sizeof(QueueHeader) == 256);

// A request that an instance took.
struct PoppedRequest {
    std::uint32_t slot;
    std::uint32_t frontend;
    std::uint32_t frontend_epoch;
    std::uint32_t ring;
    std::uint64_t enqueued_ns;
    std::uint64_t popped_ns;
    QueueRequest request;
    std::uint64_t sequence = 0;       // serial of its sequence; 0: it belongs to none
    std::uint32_t sequence_slot = 0;  // of the instance
    SequenceVerdict verdict = SequenceVerdict::none;  // else: not to be executed
};

// What an instance does, for who looks for instances that wait for each other.
struct InstanceStanding {
    std::uint32_t instance;
    bool active;
    bool busy;
    std::uint64_t sent;
    std::uint64_t sent_changes;
    std::uint64_t waits_from_ns;
};

// Where a request is that a worker sent.
struct CallStanding {
    std::uint32_t caller;  // process index
    std::uint64_t token;
    bool waiting;
    std::uint32_t instance;  // that runs it, or alone may take it; kNoSlot: any
};

// `limited`: there is a batch, which the instance may not take yet.
enum class PopOutcome { taken, empty, retired, limited };

struct PushOutcome {
    std::uint32_t handled;  // from the front: in the queue, or refused
    bool retired;
    bool full;  // no slot for what is left
    // Some wait for an instance that is awake, beside others that sleep: who pushed looks after
    // them by `attend`, the first time `kAttendNs` from now, with `taken`.
    bool unattended = false;
    std::uint64_t taken = 0;
    std::uint32_t instances = 0;  // that take requests
};

// A request of a sequence as a frontend pushes it.
struct SequencedRequest {
    QueueRequest request;
    SequenceMark mark;
    bool restarts = false;  // says the push: it starts a sequence that goes on already
};

enum class SequenceRefusal : std::uint32_t {
    none = 0,
    not_started = 1,  // there is no such sequence, and the request starts none
    no_room = 2,      // too many sequences wait for a slot
};

struct SequencedOutcome {
    std::uint32_t pushed;  // of those in front of the one that is refused, or finds no room
    bool retired;
    bool full;
    SequenceRefusal refused;  // what is wrong with the next one
};

class ModelQueue {
    static constexpr std::uint64_t kFrontendsOffset =
        sizeof(QueueHeader) + kMaxInstances * sizeof(InstanceEntry);
    static constexpr std::uint64_t kBatchesOffset =
        kFrontendsOffset + kMaxRings * sizeof(FrontendCounters);
    static constexpr std::uint64_t kResponsesOffset =
        kBatchesOffset + kBatchRows * sizeof(BatchRow);
    static constexpr std::uint64_t kSlotsOffset =
        kResponsesOffset + kResponseRows * sizeof(ResponseRow);

public:
    static std::uint64_t required_bytes(std::uint32_t slots, const SequenceRule& sequences = {},
                                        bool keeps_latencies = false) noexcept {
        return latencies_offset(slots, sequences) + (keeps_latencies ? sizeof(LatencyTable) : 0);
    }
    bool format(Segment segment, std::uint32_t slots, std::uint64_t generation,
                const SequenceRule& sequences = {},
                const LatencyRule* latencies = nullptr) noexcept;
    bool attach(Segment segment) noexcept;

    // Frontend. Handles the first of `requests`; wakes instances after the lock is released.
    PushOutcome push(std::span<QueuePush> requests, std::uint32_t frontend,
                     std::uint32_t frontend_epoch, std::uint32_t ring, std::uint64_t now = now_ns(),
                     WakeRule rule = WakeRule::all) noexcept;
    // Wakes for all that waits, if no instance has taken anything since.
    Attention attend(std::uint64_t taken_before) noexcept;
    // As `push`, for a queue with sequences, which takes no others.
    SequencedOutcome push_sequenced(std::span<SequencedRequest> requests, std::uint32_t frontend,
                                    std::uint32_t frontend_epoch, std::uint32_t ring,
                                    std::uint64_t now = now_ns()) noexcept;
    // Whether a request of this id would go on with a sequence that is there.
    bool has_sequence(const SequenceKey& key) noexcept;
    // Takes back a request that waits or expired; false when it runs already or is gone.
    bool cancel(std::uint64_t token, std::uint32_t frontend, std::uint32_t frontend_epoch,
                std::uint64_t now = now_ns()) noexcept;

    // Tells the instance that runs the request that nobody waits for its answer.
    void mark_cancelled(std::uint64_t token, std::uint32_t frontend,
                        std::uint32_t frontend_epoch) noexcept;

    // Gives a stream that runs in `slot` its next request, or `kInputsEnd`; false when it has
    // ended, is another's by now, or has not taken the one before.
    bool give_input(std::uint32_t slot, std::uint64_t token, std::uint32_t frontend,
                    std::uint32_t frontend_epoch, std::uint64_t input) noexcept;

    // Worker, of what it runs. Takes what was given, `kNoInput` for nothing yet; closing returns
    // what was not taken.
    std::uint64_t take_input(std::uint32_t slot) noexcept {
        return slots_[slot].input.exchange(kNoInput, std::memory_order_acq_rel);
    }
    std::uint64_t close_inputs(std::uint32_t slot) noexcept {
        return slots_[slot].input.exchange(kInputsClosed, std::memory_order_acq_rel);
    }
    bool has_input(std::uint32_t slot) const noexcept {
        return slots_[slot].input.load(std::memory_order_acquire) != kNoInput;
    }

    // Worker. `activate` makes the instance known; `pop` first frees `done`, then takes a batch.
    // `out` must have room for `rule.max_requests`; `count` says how many were taken. `starved` is
    // a mask of rings whose frontends must be signalled. On `empty` the instance is announced idle
    // or gathering, and sleeps on `wake_seen`, no longer than until `look_again_ns` unless that is
    // 0.
    bool activate(std::uint32_t instance, std::uint32_t process, std::uint32_t epoch) noexcept;
    PopOutcome pop(std::uint32_t instance, const BatchRule& rule,
                   std::span<const std::uint32_t> done, std::span<PoppedRequest> out,
                   std::size_t& count, std::uint64_t& starved, std::uint32_t& wake_seen,
                   std::uint64_t now = now_ns(), bool may_take = true) noexcept;
    // Whether all that was taken before what the instance holds is finished. When not, the instance
    // is woken as soon as something is, and sleeps on `wake_seen` until then.
    bool may_answer(std::uint32_t instance, std::uint32_t& wake_seen) noexcept;
    // The model was loaded and says how many sequences an instance holds.
    void set_sequence_slots(std::uint32_t slots) noexcept;
    std::uint64_t look_again_ns(std::uint32_t instance) const noexcept {
        return instances_[instance].look_again_ns;
    }
    // Whether a request that this process took was cancelled since. No lock: a late answer is fine.
    bool is_cancelled(std::uint32_t slot) const noexcept {
        return slot < slot_count_ && slots_[slot].cancelled.load(std::memory_order_relaxed) != 0;
    }
    std::atomic<std::uint32_t>& wake_word(std::uint32_t instance) noexcept {
        return instances_[instance].wake_word;
    }
    InstanceCounters& counters(std::uint32_t instance) noexcept {
        return instances_[instance].counters;
    }
    FrontendCounters& frontend_counters(std::uint32_t ring) noexcept { return frontends_[ring]; }
    // `nullptr` when none are kept.
    LatencyTable* latencies() noexcept { return latencies_; }
    std::span<BatchRow> batch_rows() noexcept { return {batches_, kBatchRows}; }
    std::span<ResponseRow> response_rows() noexcept { return {responses_, kResponseRows}; }

    // An instance that `pop` announced idle has found something else to do.
    void stay_busy(std::uint32_t instance) noexcept;

    // A worker that sends requests. `tell_sent` says what it waits for.
    void tell_sent(std::uint32_t instance, std::uint32_t caller, std::uint32_t requests,
                   std::uint64_t waits_from_ns) noexcept;
    // Instances and the requests that came from rings of `first_caller_ring` on.
    void look(std::uint32_t first_caller_ring, std::vector<InstanceStanding>& instances,
              std::vector<CallStanding>& calls);

    // Supervisor.
    void retire() noexcept;                                 // no more pushes; pops until empty
    void retire_instance(std::uint32_t instance) noexcept;  // finishes what it runs, takes no more
    bool is_drained() noexcept;                             // nothing waits, nothing runs
    void wake_all() noexcept;
    // Requests that a dead instance held. They stay marked until `release_reaped`.
    std::vector<PoppedRequest> held_by(std::uint32_t instance, std::uint32_t epoch);
    void release_reaped(std::uint32_t instance, std::uint32_t epoch,
                        std::span<const PoppedRequest> answered, std::uint64_t& starved) noexcept;
    // Drops what a dead frontend left waiting; number of requests dropped. Wakes all instances.
    std::uint32_t drop_frontend(std::uint32_t frontend, std::uint32_t frontend_epoch) noexcept;
    // Takes what waits of the sequences that an instance holds out of the queue: it is dead, and
    // they are lost with it.
    std::vector<PoppedRequest> take_sequences_of(std::uint32_t instance);
    bool has_sequences() const noexcept { return static_cast<bool>(sequences_); }
    // Sequences that have not ended, or whose requests are not all done.
    std::uint32_t live_sequences() noexcept;
    // Takes all that waits out of the queue (a model that will not come back).
    std::vector<PoppedRequest> take_waiting();

    std::uint32_t depth() const noexcept { return header_->wait_count; }
    std::uint32_t running() const noexcept { return header_->running_count; }
    std::uint32_t slot_count() const noexcept { return slot_count_; }
    std::uint64_t generation() const noexcept { return header_->generation; }

private:
    static constexpr std::uint64_t sequences_offset(std::uint32_t slots) noexcept {
        return (kSlotsOffset + std::uint64_t{slots} * sizeof(QueueSlot) + 63) & ~std::uint64_t{63};
    }
    static std::uint64_t latencies_offset(std::uint32_t slots,
                                          const SequenceRule& sequences) noexcept {
        const auto end = sequences_offset(slots) + SequenceTable::required_bytes(slots, sequences);
        return (end + 63) & ~std::uint64_t{63};
    }
    void repair() noexcept;
    std::uint32_t take_free() noexcept;
    void put_free(std::uint32_t slot) noexcept;
    void enqueue(std::uint32_t slot) noexcept;
    void dequeue(std::uint32_t slot) noexcept;
    bool is_level_full(const QueuePush& push) const noexcept;
    void sweep_deadlines(std::uint64_t now) noexcept;
    void expire(std::uint32_t slot) noexcept;
    void delay(std::uint32_t slot) noexcept;
    void note_deadline(std::uint64_t deadline_ns) noexcept;
    std::uint32_t find_taken_back(std::uint64_t token, std::uint32_t frontend,
                                  std::uint32_t frontend_epoch) const noexcept;
    void finish(std::uint32_t slot, std::uint32_t instance, std::uint64_t now) noexcept;
    BatchDecision plan_batch(const BatchRule& rule, std::uint64_t now) const noexcept;
    void take(std::uint32_t index, std::uint32_t instance, std::uint64_t now) noexcept;
    PopOutcome pop_locked(std::uint32_t instance, BatchRule rule, std::span<PoppedRequest> out,
                          std::size_t& count, std::uint64_t& picked, std::uint64_t now,
                          bool may_take) noexcept;
    PopOutcome pop_sequences(std::uint32_t instance, BatchRule rule, std::span<PoppedRequest> out,
                             std::size_t& count, std::uint64_t& picked, std::uint64_t now) noexcept;
    std::uint32_t holder_of(std::uint32_t slot) const noexcept;
    std::uint64_t pick_these(std::uint64_t instances) noexcept;
    std::uint64_t pick_for_doomed() noexcept;
    std::uint64_t end_sequence_of(std::uint32_t index, SequenceVerdict verdict,
                                  std::uint64_t now) noexcept;
    std::uint64_t settle_sequences(std::uint64_t now) noexcept;
    void end_unless_started(std::uint32_t index) noexcept;
    std::uint32_t sequence_of(SequencedRequest& request, std::uint64_t now,
                              SequenceRefusal& refused) noexcept;
    PopOutcome nothing_of_sequences(std::uint32_t instance, const BatchRule& rule,
                                    std::uint64_t look_again_ns) noexcept;
    std::uint64_t choose_rows(std::uint32_t instance, const BatchRule& rule,
                              std::uint64_t now) noexcept;
    std::uint64_t choose_oldest(std::uint32_t instance, const BatchRule& rule,
                                std::uint64_t now) noexcept;
    void gather(std::uint32_t instance, const BatchDecision& decision) noexcept;
    void announce_idle(std::uint32_t instance, const BatchRule& rule) noexcept;
    bool ends_gathering(const QueueRequest& request) noexcept;
    std::uint64_t release_gatherer() noexcept;
    std::uint64_t release_ordered() noexcept;
    std::uint64_t pick_for(std::uint32_t requests) noexcept;
    std::uint64_t pick_worth(std::uint32_t requests, std::uint64_t now, bool& unattended) noexcept;
    std::uint64_t count_awake(std::uint64_t now) const noexcept;
    void note_execution(std::span<const std::uint32_t> done, std::uint32_t instance,
                        std::uint64_t now) noexcept;
    void set_instance(std::uint32_t instance, InstanceState state) noexcept;
    std::uint64_t pick_idle(std::uint32_t wanted) noexcept;
    std::uint32_t least_laden(std::uint64_t instances) const noexcept;
    std::uint64_t gathering_sequences() const noexcept;
    void wake(std::uint64_t picked) noexcept;
    std::uint64_t take_starved() noexcept;

    QueueHeader* header_ = nullptr;
    InstanceEntry* instances_ = nullptr;
    FrontendCounters* frontends_ = nullptr;
    BatchRow* batches_ = nullptr;
    ResponseRow* responses_ = nullptr;
    LatencyTable* latencies_ = nullptr;
    QueueSlot* slots_ = nullptr;
    std::uint32_t slot_count_ = 0;
    SequenceTable sequences_;
    std::vector<std::uint32_t> chosen_;  // queue slots; has its room before any lock is taken
};

}  // namespace mpserve
