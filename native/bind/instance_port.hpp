// One model instance's access to its queue: take requests, give answers.
//
// Guarantees: each request taken is answered exactly once, or its slot stays marked as held until
// the
//   reaper answers for this process. Input blocks stay lent while the model keeps a view of them.
// Assumes: one thread calls `pop`, `complete` and `fail`; `wake` may come from any.
// Owner: the worker process; it owns the blocks of the answers until a frontend took them.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include <nanobind/nanobind.h>

#include "answer_rings.hpp"
#include "instance_context.hpp"
#include "mpserve/client_region.hpp"
#include "peer_segments.hpp"
#include "rate_limiter_object.hpp"
#include "request_lease.hpp"
#include "response_writer.hpp"
#include "shared_objects.hpp"

namespace mpserve::bind {

class InstancePort;

inline constexpr const char* kRegionGone =
    "a shared memory region of the request is gone, or has become smaller than it was registered; "
    "register it again";
inline constexpr const char* kRegionCut =
    "a shared memory region of the request was made smaller while the model used it";

// The lease of a popped request's input block.
class PoppedLease final : public RequestLease {
public:
    PoppedLease(InstancePort& port, const PoppedRequest& popped, BorrowedBlock block)
        : port_(&port), popped_(popped), block_(std::move(block)) {}

    const PoppedRequest& popped() const noexcept { return popped_; }
    // The request was answered; `still_used` tells that the block goes back later.
    void settle(bool still_used) noexcept { return_later_ = still_used; }
    // The port is gone: nobody is left to tell.
    void orphan() noexcept { port_ = nullptr; }
    // It is given to the model once more.
    void begin_again(std::uint64_t now) noexcept { popped_.popped_ns = now; }

    bool is_stream() const noexcept override;
    bool is_closed() const noexcept { return closed_; }
    // `execute` returned, and the final answer is still to be sent.
    bool is_open_stream() const noexcept { return detached_ && !closed_; }
    void close(bool still_used) noexcept {
        closed_ = true;
        return_later_ = still_used;
    }
    void send(const InferenceRequest& request, nanobind::handle response,
              std::uint32_t flags) override;
    bool has_room() noexcept override;
    void ask_input() override;
    nanobind::object take_input() override;
    bool is_cancelled() const noexcept override;
    // Whether a stream has news for the model: a request, the end of them, or that nobody wants its
    // answers any more. Each is said once: a model that does not take it keeps nobody awake.
    bool has_news() noexcept;
    std::byte* region_at(std::uint64_t region, std::uint64_t offset,
                         std::uint64_t bytes) const noexcept override;
    bool regions_are_intact() const noexcept override;
    // Takes the regions that the request names; false when one is gone or became too small.
    bool take_regions(const MessageView& request, ClientRegions& known);
    SequencePlace sequence_place() const noexcept override {
        return {.serial = popped_.sequence, .slot = popped_.sequence_slot};
    }
    // `execute` is over; what is not answered yet is the sender's.
    void detach() noexcept { detached_ = true; }

    // Answers that the reader has not given back yet; see instance_stream.cpp.
    void note_unread(BlockRef block, std::uint64_t ticket, std::uint64_t bytes);
    std::uint64_t unread_bytes(const Arena& arena) noexcept;
    // The reader did not read for too long: what the model still sends is dropped.
    void give_up() noexcept { given_up_ = true; }

    // Of a stream: which response is next, and since when it is made.
    std::uint32_t next_response() noexcept { return responses_++; }
    std::uint64_t begin_response(std::uint64_t now) noexcept {
        const auto begun = response_ns_ == 0 ? popped_.popped_ns : response_ns_;
        response_ns_ = now;
        return begun;
    }

private:
    void on_unused() noexcept override;

    InstancePort* port_;
    PoppedRequest popped_;
    struct UsedRegion {
        std::uint64_t id;
        ClientRegionRef region;
    };

    struct Unread {
        BlockRef block;
        std::uint64_t ticket;
        std::uint64_t bytes;
    };

    bool take_region(ClientRegions& known, std::uint64_t id, std::uint64_t offset,
                     std::uint64_t bytes);

    BorrowedBlock block_;  // keeps the segment mapped
    std::vector<UsedRegion> regions_;
    std::deque<Unread> unread_;
    std::uint64_t unread_bytes_ = 0;
    std::uint32_t responses_ = 0;    // that were sent
    std::uint64_t response_ns_ = 0;  // when the last one was; 0: none was
    bool awaits_input_ = false;      // has asked for a further request, and not taken it
    bool told_input_ = false;        // that it has come; that nobody wants the answers
    bool told_cancelled_ = false;
    bool given_up_ = false;
    bool return_later_ = false;
    bool detached_ = false;
    bool closed_ = false;  // the final answer of a stream was sent
};

// The lease of a further request of a stream. Its block was lent when it was given.
class InputLease final : public RequestLease {
public:
    InputLease(InstancePort& port, const PoppedRequest& stream, BorrowedBlock block, BlockRef ref)
        : port_(&port), stream_(stream), block_(std::move(block)), ref_(ref) {}
    void orphan() noexcept { port_ = nullptr; }

private:
    void on_unused() noexcept override;

    InstancePort* port_;
    PoppedRequest stream_;
    BorrowedBlock block_;  // keeps the segment mapped
    BlockRef ref_;
};

class InstancePort {
public:
    struct Places {
        nanobind::object board;     // keeps BoardObject alive
        nanobind::object queue;     // QueueObject
        nanobind::object arena;     // ArenaObject
        std::string region_prefix;  // path of a client's region without its id
    };

    InstancePort(Places places, AnswerRings answers, std::uint32_t process, std::uint32_t epoch,
                 std::uint32_t instance, nanobind::object attach,
                 std::shared_ptr<const InstanceContext> context, BatchRule rule,
                 std::vector<std::uint32_t> preferred_rows);
    ~InstancePort();
    InstancePort(const InstancePort&) = delete;
    InstancePort& operator=(const InstancePort&) = delete;

    void activate();
    // A batch, an empty list after `timeout_ms` or `wake`; raises StopIteration when retired.
    nanobind::list pop(std::uint32_t timeout_ms);
    // One answer for each request, in order; empties `requests`, so that what the model did not
    // keep goes back at once.
    void complete(nanobind::list requests, nanobind::list responses);
    void fail(nanobind::list requests, std::uint32_t code, std::string_view message);
    // `execute` of a decoupled model returned: its requests are answered by their senders. One
    // whose sender is dropped before it sent the final flag is failed.
    void detach(nanobind::list requests);
    // Waits until no sender is left that has not sent its final answer; false after `timeout_ms`.
    bool await_streams(std::uint32_t timeout_ms);
    // Whether one more stream may stay open for as long as its client likes: half of the queue is
    // left to requests that end by themselves.
    bool has_stream_room() const noexcept { return queue_.running() <= queue_.slot_count() / 2; }
    // Waits until a stream has news, or an answer was sent, for an instance that takes no more.
    void await_news(std::uint32_t timeout_ms);
    // Takes requests that the model wants once more out of the batch, and out of the list, before
    // it is answered; returns which. They stay held, and are given again by `pop`, in turns with
    // what waits in the queue.
    nanobind::list put_off(nanobind::list requests);
    void wake() noexcept;
    void set_decoupled(bool decoupled) noexcept { decoupled_ = decoupled; }
    // After what was given back is taken in.
    std::uint64_t arena_used_bytes() {
        arena_.collect();
        return arena_.used_bytes();
    }
    void set_ordered(bool ordered) noexcept { ordered_ = ordered; }
    // As many sequences the instance holds at once, as the loaded model says; 0: as was foreseen.
    void set_sequence_slots(std::uint32_t slots) noexcept { sequence_slots_ = slots; }
    // Each execution takes what this process was enrolled for.
    void set_limiter(nanobind::object limiter) {
        limiter_owner_ = std::move(limiter);
        limiter_ = &nanobind::cast<LimiterObject&>(limiter_owner_).limiter;
    }

private:
    friend class PoppedLease;
    friend class InputLease;

    struct Active {
        LeaseRef lease;  // none: a row without a request
        Completion completion{};
    };

    struct Rescheduled {
        Active active;
        nanobind::object request;
    };

    // A batch of rescheduled requests of one shape.
    nanobind::list give_again();
    void join_rescheduled(nanobind::list& requests);
    // Makes the request objects of what was popped; drops what its dead frontend took along.
    void accept(nanobind::list& requests, std::size_t popped);
    // Sequences: see instance_sequences.cpp.
    void fill_rows(nanobind::list& requests);
    void forget_fillers() noexcept;
    void refuse_verdict(Active& active, SequenceVerdict verdict);
    void put_answer(Active& active, nanobind::handle request, nanobind::handle response);
    void put_error(Active& active, Status status, std::string_view message);
    // Answers a request that never gets to the model.
    void refuse(Active& active, Status status, std::string_view message);
    void settle(Active& active, std::uint64_t executed_ns, std::uint64_t output_ns);
    bool reserve(Active& active, std::uint64_t bytes, Block& block);
    // Streams: one answer, and the end. See instance_stream.cpp.
    void send_answer(PoppedLease& lease, const InferenceRequest& request, nanobind::handle response,
                     bool final);
    void send_error(PoppedLease& lease, Status status, std::string_view message);
    // Further requests of streams. See instance_input.cpp.
    bool has_news() noexcept;
    nanobind::object make_input(PoppedLease& lease, BlockRef ref);
    void return_input(const PoppedRequest& stream, BlockRef ref) noexcept;
    void close_inputs(const PoppedLease& lease) noexcept;
    void send_completion(PoppedLease& lease, Completion completion, bool final,
                         std::uint64_t made_ns);
    Block wait_for_room(PoppedLease& lease, std::uint64_t bytes);
    std::uint64_t unread_limit() const noexcept;
    void wait_for_turn() noexcept;
    void hold_resources() noexcept;
    void release_resources(bool executed) noexcept;
    void renew_resources() noexcept;
    void finish_batch(nanobind::list& requests, std::uint64_t executed_ns);
    void count_batch(std::uint64_t executed_ns) noexcept;
    void count_stream(const PoppedRequest& request, const Completion& completion) noexcept;
    void count_response(PoppedLease& lease, const Completion& completion,
                        std::uint64_t made_ns) noexcept;
    void count_execution(std::uint64_t rows, std::uint64_t input_ns, std::uint64_t execute_ns,
                         std::uint64_t output_ns) noexcept;
    void count_arena(InstanceCounters& counters) const noexcept;
    static std::uint64_t unix_ms() noexcept;
    BatchRow* batch_row(std::uint32_t rows) noexcept;
    // Gives unused shared memory back; with traffic or without, about once a second.
    void trim(std::uint64_t now);
    // Nothing is held that a later `trim` could let go of, whatever others do meanwhile.
    bool is_at_rest() const noexcept;
    std::uint64_t idle_ns(std::uint64_t timeout_ns) const noexcept;

    Places places_;
    Board& board_;
    ModelQueue& queue_;
    Arena& arena_;
    AnswerRings answers_;
    PeerSegments peers_;
    ClientRegions regions_;
    std::shared_ptr<const InstanceContext> context_;
    std::vector<std::uint32_t> preferred_rows_;  // what `rule_` looks at
    BatchRule rule_;
    std::uint32_t process_;
    std::uint32_t epoch_;
    std::uint32_t instance_;
    std::atomic<bool> woken_{false};
    std::uint32_t idle_looks_ = 0;  // since the last batch, or since somebody died
    std::uint64_t deaths_seen_ = 0;
    bool decoupled_ = false;
    nanobind::object limiter_owner_;
    RateLimiter* limiter_ = nullptr;
    bool holds_resources_ = false;
    bool waits_for_resources_ = false;  // in line since the last execution
    bool ordered_ = false;              // answers leave in the order in which requests came
    std::uint32_t sequence_slots_ = 0;

    std::vector<PoppedRequest> popped_;
    std::vector<Active> active_;
    std::vector<std::uint32_t> done_;
    std::deque<Rescheduled> rescheduled_;
    bool again_is_next_ = false;
    std::vector<PoppedLease*> leases_;  // all that live, to orphan them at the end
    std::vector<InputLease*> input_leases_;
    ResponseWriter writer_;
    std::uint64_t started_ns_ = 0;
    std::uint64_t trim_at_ns_ = 0;
    BatchRow* batch_row_ = nullptr;  // of the last batch
    std::uint32_t batch_row_rows_ = 0;
};

void bind_instance_port(nanobind::module_& m);

}  // namespace mpserve::bind
