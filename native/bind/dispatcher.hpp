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
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "answer_sink.hpp"
#include "mpserve/string_map.hpp"
#include "peer_segments.hpp"
#include "region_table.hpp"
#include "request_timer.hpp"
#include "route.hpp"
#include "shared_objects.hpp"
#include "socket_set.hpp"
#include "submission.hpp"
#include "trace_gates.hpp"
#include "traffic_object.hpp"

namespace mpserve::bind {

class Dispatcher {
public:
    static constexpr int kNoWakeFd = -1;  // who owns it sleeps on the ring itself

    Dispatcher(nanobind::object board, std::uint32_t process, std::uint32_t epoch,
               std::uint32_t ring_index, nanobind::object arena, nanobind::object ring, int wake_fd,
               nanobind::object attach, nanobind::object call_soon, nanobind::object call_later,
               nanobind::object regions, nanobind::object on_restarted,
               std::uint32_t max_in_flight);
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;

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
    // What clients registered; nullptr where requests can name none.
    const RegionTable* regions() const noexcept {
        return regions_ == nullptr ? nullptr : &regions_->table;
    }
    std::uint32_t ring_index() const noexcept { return ring_index_; }

    // Routing table: name -> version ("" is the default) -> route.
    void update(std::string name, StringMap<RouteRef> versions);
    void remove(std::string_view name);
    const RouteRef* find(std::string_view name, std::string_view version) const noexcept;
    // Whether any model wants the headers of its requests.
    bool takes_headers() const noexcept { return takes_headers_; }

    // A block for a request of this route. Where none is left, requests of models that hold more
    // give way: those that wait, the last first.
    Block allocate(const Route& route, std::uint64_t bytes);
    // Whether one more request may be submitted to this route now. What its queue's policy says is
    // known later, when it is pushed.
    bool has_room(const Route& route) const noexcept;
    // Fills in what the finished message of a request says: its batch, and the regions that it
    // names, which are held from now on.
    void describe(const MessageView& view, Submission& submission) const;
    // Takes the block over. `sink` must live until its answer, or until `forget`. What finds no
    // room is refused at the end of the turn.
    std::uint64_t submit(Submission submission, AnswerSink* sink, nanobind::object keep_alive,
                         std::uint64_t tag);
    // The next request of a stream, whose instance has asked for one; takes the block over. False,
    // and the block is released, when the stream has ended. `end_inputs`: there is no next one.
    bool send_input(std::uint64_t token, const Block& block) noexcept;
    bool end_inputs(std::uint64_t token) noexcept;
    // The sink does not want the answer any more. A request that waits is taken back.
    void forget(std::uint64_t token) noexcept;

    void flush();    // end of the loop's turn
    void on_wake();  // the eventfd is readable
    void take_answers();
    // The core reads sockets and wakes from now on; what is returned is the loop's to watch, and
    // `turn` what it calls. Raises OSError.
    int open_sockets();
    // nullptr: the loop reads.
    SocketSet* sockets() noexcept { return sockets_.get(); }
    // What is submitted between them is pushed by `end_turn`, not by the loop.
    void begin_turn() noexcept { in_turn_ = true; }
    void end_turn();
    void on_timer();

    // The sink has something to write: it is flushed after this batch of answers, or, where none is
    // being delivered, at the end of the loop's turn.
    void mark_dirty(AnswerSink* sink, nanobind::object keep_alive);

    std::uint32_t in_flight() const noexcept { return in_flight_; }
    // Requests wait for room in a queue, or for `flush`.
    bool has_unpushed() const noexcept { return !scheduled_.empty() || !refused_.empty(); }
    void trim();

private:
    struct InFlight {
        std::uint32_t turn = 0;  // grows with each use of the entry: the upper half of the token
        bool used = false;
        AnswerSink* sink = nullptr;
        nanobind::object keep_alive;
        std::uint64_t tag = 0;
        RouteRef route;
        Block block;
        std::uint64_t message_bytes = 0;
        std::uint64_t submitted_ns = 0;
        std::uint64_t level = 0;   // of its line, and
        std::uint64_t serial = 0;  // its place there, as long as it is not pushed
        RegionHold regions;
        Status failed = Status::ok;  // of an answer before the final one
        bool responded = false;      // the first response has come
        // Of a stream: where its instance waits for the next request.
        std::uint32_t input_slot = kNoSlot;
        std::uint32_t worker_index = 0;
        std::uint32_t worker_epoch = 0;
    };

    struct Refused {
        std::uint64_t token;
        std::string text{};  // empty: the queue is full
    };

    struct Dirty {
        AnswerSink* sink;
        nanobind::object keep_alive;
    };

    static constexpr std::uint32_t index_of(std::uint64_t token) noexcept {
        return static_cast<std::uint32_t>(token);
    }
    InFlight* find_in_flight(std::uint64_t token) noexcept;
    void schedule(const std::shared_ptr<QueuePort>& port);
    void schedule_flush();
    void push_pending(const std::shared_ptr<QueuePort>& owner);
    void attend(const std::shared_ptr<QueuePort>& port, std::uint64_t taken);
    void look_after();
    // How many requests may be pushed besides those that are: in all, and of one route.
    std::uint32_t free_places() const noexcept { return max_pushed_ - (in_flight_ - unpushed_); }
    std::uint32_t free_places(const QueuePort& port) const noexcept;
    // Those in front that may be pushed.
    std::span<QueuePush> next_pushes(QueuePort& port, std::size_t places) const noexcept;
    std::vector<Waiting> who_wait();
    void push_out(std::uint64_t token);
    void refuse(std::uint64_t token, Answer answer);
    void refuse_what_found_no_room();
    void begin_flight(QueuePort& port, std::uint64_t bytes) noexcept;
    void end_flight(QueuePort& port, std::uint64_t bytes) noexcept;
    void leave_line(QueuePort& port, std::uint32_t requests, std::uint64_t bytes) noexcept;
    // False when it runs already, or was answered.
    bool take_back(const InFlight& entry, std::uint64_t token) noexcept;
    void watch(std::uint64_t deadline_ns, std::uint64_t token);
    void line_up(QueuePort& port, const Submission& submission, InFlight& entry,
                 std::uint64_t token);
    // Of a model with sequences: sequence_push.cpp.
    void line_up_sequenced(QueuePort& port, const Submission& submission, std::uint64_t token);
    void push_sequenced(QueuePort& port);
    void tell_restarted(const Route& route, const SequenceKey& key) noexcept;
    std::uint64_t turn_ns() noexcept;
    void count(const InFlight& entry, Answer& answer) noexcept;
    void observe(InFlight& entry, const Answer& answer) noexcept;
    void take(const Completion& completion);
    void take_wish(const Completion& completion);
    // An answer after which more follow.
    void deliver(std::uint64_t token, Answer& answer);
    void settle(std::uint64_t token, Answer& answer, bool inputs_leased,
                const Completion* completion);
    void flush_dirty();
    void look_for_headers() noexcept;

    nanobind::object board_owner_;
    nanobind::object arena_owner_;
    nanobind::object ring_owner_;
    nanobind::object regions_owner_;  // RegionTable, or None
    nanobind::object call_soon_;
    nanobind::object on_restarted_;  // on_restarted(model, correlation id)
    const RegionTableObject* regions_;
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
    WakeRule wake_rule_;  // who has no loop looks after nothing
    std::uint32_t max_pushed_;
    std::uint32_t max_in_flight_;
    std::uint32_t in_flight_ = 0;
    std::uint32_t unpushed_ = 0;  // of them: those that wait here
    BytesInFlight bytes_;

    StringMap<StringMap<RouteRef>> routes_;
    bool takes_headers_ = false;
    std::vector<InFlight> entries_;
    std::vector<std::uint32_t> unused_entries_;
    std::vector<std::shared_ptr<QueuePort>> scheduled_;
    std::vector<std::shared_ptr<QueuePort>> starved_;
    std::vector<std::shared_ptr<QueuePort>> attended_;
    std::vector<Refused> refused_;  // answered at the end of the turn
    std::vector<Dirty> dirty_;
    bool flush_scheduled_ = false;
    bool in_turn_ = false;
    std::unique_ptr<SocketSet> sockets_;
    bool delivering_ = false;    // `dirty_` is looked at before the loop goes on
    std::uint64_t turn_ns_ = 0;  // one look at the clock for all requests of a turn; 0: none yet

public:
    nanobind::object flush_callable;  // the bound `flush`, given to call_soon
    nanobind::object timer_callable;  // the bound `on_timer`, given to call_later
};

// What is said when nobody said why.
std::string_view default_error(Status status) noexcept;

// What a request is told that found no room, in Triton's words.
std::string queue_full_text(std::string_view request_id);

void bind_dispatcher(nanobind::module_& m);

}  // namespace mpserve::bind
