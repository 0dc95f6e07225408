// A frontend's side of the data path: requests into model queues, answers out of the completion
// ring.
//
// Guarantees: each request that was submitted is answered exactly once to its sink, also when its
//   worker or its queue dies; its block is given back after that. Requests submitted in one turn of
//   the event loop are pushed together, with one wake.
// Assumes: one thread at a time, the GIL held; a worker that calls models has a lock for it.
// Owner: the frontend process, or the worker that calls models; its arena holds all requests in
// flight. Source: docs/adr/0002-request-path.md.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "mpserve/message.hpp"
#include "mpserve/queue_policy.hpp"
#include "mpserve/signature.hpp"
#include "peer_segments.hpp"
#include "request_timer.hpp"
#include "sequence_push.hpp"
#include "shared_objects.hpp"
#include "string_map.hpp"
#include "trace_gates.hpp"
#include "traffic_object.hpp"

namespace mpserve::bind {

// A model queue as a frontend pushes into it.
struct QueuePort {
    nanobind::object owner;  // QueueObject
    ModelQueue* queue = nullptr;
    FrontendCounters* counters = nullptr;     // ours alone to write
    std::vector<QueuePush> pending;           // accepted, not yet pushed: by level, in order
    std::vector<SequencedRequest> sequenced;  // the same, of a model with sequences
    std::uint32_t in_flight = 0;              // accepted and not answered
    bool scheduled = false;                   // in the dispatcher's list of this turn

    std::size_t unpushed() const noexcept { return pending.size() + sequenced.size(); }
};

// Where requests for one version of one model go.
struct Route {
    std::shared_ptr<QueuePort> port;
    std::string model_name;
    std::string model_version;
    Signature signature;
    std::uint64_t generation = 0;
    QueuePolicy policy;
    bool native = true;  // false: every request is Python's to read
    bool keep_tensor_parameters = false;
    std::optional<SequenceTerms> sequences;  // of a model whose requests belong to sequences
    // A sequence may have begun in another version, or in an earlier generation.
    bool has_siblings = false;
};
using RouteRef = std::shared_ptr<const Route>;

// An answer on its way to a sink. The views hold during the call.
struct Answer {
    Status status = Status::ok;
    std::string_view error{};               // when not ok
    const MessageView* request = nullptr;   // the question, in this process's arena
    const MessageView* response = nullptr;  // when ok
    BorrowedBlock* block = nullptr;         // of `response`; the sink may take it over
    const Route* route = nullptr;
    const Completion* completion = nullptr;  // nullptr: no instance has answered
    bool final = true;                       // no more answers follow
    bool refused = false;                    // the queue was full
    std::uint64_t at_ns = 0;                 // of the last answer: now, and
    std::uint64_t taken_ns = 0;              // how long ago the request was submitted
};

// Who waits for an answer: an HTTP connection or a Python callback.
class AnswerSink {
public:
    virtual ~AnswerSink() = default;
    // `tag` is what the sink gave at submission. A decoupled model gives any number of answers; an
    // answer may have neither outputs nor an error: only the mark that it is the last.
    virtual void on_answer(std::uint64_t tag, Answer& answer) = 0;
    // Writes what is ready; called after a batch of answers when `mark_dirty` asked for it.
    virtual void flush() {}
};

// What a sink needs to know of a request that it submits.
struct Submission {
    RouteRef route;
    Block block;
    std::uint64_t message_bytes = 0;
    std::uint64_t priority = 0;    // as asked for; 0: the model's default
    std::uint64_t timeout_us = 0;  // likewise
    std::uint32_t rows = 1;
    std::uint64_t shape_digest = 0;
    std::unique_ptr<SequenceMark> mark{};  // when the route has sequences
};

class Dispatcher {
public:
    static constexpr int kNoWakeFd = -1;  // who owns it sleeps on the ring itself

    Dispatcher(nanobind::object board, std::uint32_t process, std::uint32_t epoch,
               std::uint32_t ring_index, nanobind::object arena, nanobind::object ring, int wake_fd,
               nanobind::object attach, nanobind::object call_soon, nanobind::object call_later,
               nanobind::object on_restarted, std::uint32_t max_in_flight);

    Arena& arena() noexcept { return arena_; }
    // An id for a sequence whose client gave none: no other process gives it, and no client means
    // it.
    std::uint64_t next_sequence() noexcept {
        constexpr unsigned kProcessBit = 40;
        return std::uint64_t{1} << 63 | std::uint64_t{process_} << kProcessBit | ++last_sequence_;
    }
    TraceGates& traces() noexcept { return traces_; }
    Traffic& traffic() noexcept { return *traffic_; }
    // Counts what clients ask, from now on.
    void count_traffic(nanobind::object traffic);
    const nanobind::object& traffic_owner() const noexcept { return traffic_owner_; }
    std::uint32_t ring_index() const noexcept { return ring_index_; }

    // Routing table: name -> version ("" is the default) -> route.
    void update(std::string name, StringMap<RouteRef> versions);
    void remove(std::string_view name);
    const RouteRef* find(std::string_view name, std::string_view version) const noexcept;

    // Whether one more request may be submitted to this route now. What its queue's policy says is
    // known later, when it is pushed.
    bool has_room(const Route& route) const noexcept;
    // Takes the block over. `sink` must live until its answer, or until `forget`.
    std::uint64_t submit(Submission submission, AnswerSink* sink, nanobind::object keep_alive,
                         std::uint64_t tag);
    // The sink does not want the answer any more. A request that waits is taken back.
    void forget(std::uint64_t token) noexcept;

    void flush();    // end of the loop's turn
    void on_wake();  // the eventfd is readable
    void on_timer();

    // The sink has something to write: it is flushed after this batch of answers, or, where none is
    // being delivered, at the end of the loop's turn.
    void mark_dirty(AnswerSink* sink, nanobind::object keep_alive);

    std::uint32_t in_flight() const noexcept { return in_flight_; }
    // Requests wait for room in a queue, or for `flush`.
    bool has_unpushed() const noexcept { return !scheduled_.empty(); }
    void trim();

private:
    struct InFlight {
        std::uint32_t turn = 0;  // grows with each use of the entry: the upper half of the token
        bool used = false;
        bool pushed = false;
        AnswerSink* sink = nullptr;
        nanobind::object keep_alive;
        std::uint64_t tag = 0;
        RouteRef route;
        Block block;
        std::uint64_t message_bytes = 0;
        std::uint64_t submitted_ns = 0;
        Status failed = Status::ok;  // of an answer before the final one
    };

    struct Dirty {
        AnswerSink* sink;
        nanobind::object keep_alive;
    };

    InFlight* find_in_flight(std::uint64_t token) noexcept;
    void schedule(const std::shared_ptr<QueuePort>& port);
    void schedule_flush();
    void push_pending(QueuePort& port);
    void refuse(std::uint64_t token, Answer answer);
    // False when it runs already, or was answered.
    bool take_back(const InFlight& entry, std::uint64_t token) noexcept;
    void watch(std::uint64_t deadline_ns, std::uint64_t token);
    void line_up(QueuePort& port, const Submission& submission, std::uint64_t token);
    // Of a model with sequences: sequence_push.cpp.
    void line_up_sequenced(QueuePort& port, const Submission& submission, std::uint64_t token);
    void push_sequenced(QueuePort& port);
    void tell_restarted(const Route& route, const SequenceKey& key) noexcept;
    std::uint64_t turn_ns() noexcept;
    void count(const InFlight& entry, Answer& answer) noexcept;
    void take(const Completion& completion);
    // An answer after which more follow.
    void deliver(std::uint64_t token, Answer& answer);
    void settle(std::uint64_t token, Answer& answer, bool inputs_leased,
                const Completion* completion);
    void flush_dirty();

    nanobind::object board_owner_;
    nanobind::object arena_owner_;
    nanobind::object ring_owner_;
    nanobind::object call_soon_;
    nanobind::object on_restarted_;  // on_restarted(model, correlation id)
    Board& board_;
    Arena& arena_;
    CompletionRing& ring_;
    PeerSegments peers_;
    RequestTimer timer_;
    TraceGates traces_;
    Traffic no_traffic_;
    nanobind::object traffic_owner_ = nanobind::none();
    Traffic* traffic_ = &no_traffic_;
    std::uint32_t process_;
    std::uint64_t last_sequence_ = 0;
    std::uint32_t epoch_;
    std::uint32_t ring_index_;
    int wake_fd_;
    std::uint32_t max_in_flight_;
    std::uint32_t in_flight_ = 0;

    StringMap<StringMap<RouteRef>> routes_;
    std::vector<InFlight> entries_;
    std::vector<std::uint32_t> unused_entries_;
    std::vector<std::shared_ptr<QueuePort>> scheduled_;
    std::vector<std::shared_ptr<QueuePort>> starved_;
    std::vector<Dirty> dirty_;
    bool flush_scheduled_ = false;
    bool delivering_ = false;    // `dirty_` is looked at before the loop goes on
    std::uint64_t turn_ns_ = 0;  // one look at the clock for all requests of a turn; 0: none yet

public:
    nanobind::object flush_callable;  // the bound `flush`, given to call_soon
    nanobind::object timer_callable;  // the bound `on_timer`, given to call_later
};

// What is said when nobody said why.
std::string_view default_error(Status status) noexcept;

// Of a request whose first input has this shape.
std::uint32_t rows_of(const Signature& signature,
                      std::span<const std::int64_t> first_shape) noexcept;

// Rows and digest of a finished request message, as the queue batches by them.
void describe_batch(const MessageView& view, const Signature& signature, std::uint32_t& rows,
                    std::uint64_t& digest) noexcept;

// What a request is told that found no room, in Triton's words.
std::string queue_full_text(std::string_view request_id);

void bind_dispatcher(nanobind::module_& m);

}  // namespace mpserve::bind
