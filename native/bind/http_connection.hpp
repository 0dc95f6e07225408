// One client connection: an asyncio BufferedProtocol that splits, answers and orders requests.
//
// Valid, common inference requests and prebuilt GETs are answered here without Python objects;
// every other request is given to Python as an Exchange. Answers leave in the order of their
// requests.
//
// Guarantees: a request is answered once; large bodies of binary tensors are received straight into
//   the arena; large binary outputs are written from the worker's arena. A slow reader stops its
//   own connection's reading (`pause_writing`), nobody else's.
// Assumes: one event loop thread.
// Owner: the transport; requests in flight keep the object alive until they are answered.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "client_inlet.hpp"
#include "client_outlet.hpp"
#include "http_config.hpp"
#include "mpserve/byte_buffer.hpp"
#include "mpserve/http_chunked.hpp"

namespace mpserve::bind {

class Exchange;

class HttpConnection final : public AnswerSink, public ByteTaker {
public:
    explicit HttpConnection(nanobind::object config);
    ~HttpConnection() override;

    // asyncio.BufferedProtocol
    void connection_made(nanobind::object transport);
    void connection_lost();
    void buffer_updated(std::size_t bytes) override;
    bool eof_received();
    void pause_writing() { writing_paused_ = true; }
    void resume_writing();
    // Where the next bytes go; filled by the transport.
    std::byte* read_target(std::size_t& bytes) noexcept override;
    // The same, of bytes that the transport has read.
    void came_by_transport(std::size_t bytes);
    nanobind::object keep() const override { return nanobind::borrow(self_); }

    // AnswerSink
    void on_answer(std::uint64_t sequence, Answer& answer) override;
    void flush() override;

    // Answer of Python to the request `sequence`. `parts` are bytes-like, already framed.
    void answer(std::uint64_t sequence, nanobind::list parts, bool close);
    // The next pieces of an answer that comes bit by bit; `ends` with the last ones.
    void stream(std::uint64_t sequence, nanobind::list parts, bool ends);
    // What the answer of Python is counted as.
    void tell_status(std::uint64_t sequence, std::uint32_t place, std::uint32_t status) noexcept;
    // Nothing is read after this request, and its answer's end is the connection's.
    void make_last(std::uint64_t sequence);
    // Whether a piece of the answer would leave at once: it is its turn, and the client reads.
    bool is_writable(std::uint64_t sequence) const noexcept;
    bool is_open() const noexcept { return !transport_.is_none(); }
    // The server stops: close after the last answer. A client that rests between two requests may
    // have sent the next one already: it is waited for until `close_idle`, one that has just
    // connected until `close_untouched`.
    void drain();
    void close_idle();
    void close_untouched();
    // For one whose handshake ends when the drain has begun.
    void close_unless_touched_soon();
    // Ends it when its client is too slow, or was silent for too long.
    void look_at_pace(std::uint64_t now_ns);
    bool keeps_alive(std::uint64_t sequence) const noexcept;

    void set_self(nanobind::handle self) noexcept { self_ = self; }

private:
    enum class State : std::uint8_t { head, body, chunked, ignore };

    struct Pending {
        bool ready = false;
        bool keep_alive = true;
        bool is_inference = false;
        bool counted = false;  // in progress, for the metrics
        TrafficKind kind = TrafficKind::other;
        std::uint8_t minor_version = 1;
        std::uint16_t status = 0;
        std::uint32_t place = kNoPlace;
        std::uint64_t begun_ns = 0;            // 0: what it took is known without
        std::uint64_t taken_ns = 0;            // then this
        std::uint64_t token = 0;               // in flight, 0: none
        nanobind::object exchange;             // Python's, told when the client goes
        std::vector<nanobind::object> parked;  // ready, but an earlier answer is not
    };

    void consume(std::string_view data);
    HeadResult read_head(std::string_view data);
    bool receives_in_place() const noexcept;
    std::uint64_t body_limit() const noexcept;
    bool take_body(std::string_view data, std::size_t& at, std::size_t head_bytes);
    bool start_body(std::string_view head, std::uint64_t bytes, std::string_view already);
    void finish_body();
    bool feed_chunks(std::string_view& data);
    void handle(std::string_view body, ByteBuffer* owned_body, Block block,
                std::uint64_t body_offset);
    bool answer_static();
    bool submit_inference(std::string_view body, const Block& block, std::uint64_t body_offset);
    // The body was not read: `outcome` says why.
    void refuse_body(BodyOutcome outcome);
    void hand_to_python(std::string_view body, ByteBuffer* owned_body, Block block,
                        BodyOutcome outcome);
    const RouteRef* find_route(std::string_view path) const noexcept;
    std::string_view pairs_of_head();
    void protocol_error(std::uint32_t status, std::string_view reason);
    void keep_head(std::string_view head);
    Pending& open_pending();
    Pending* find_pending(std::uint64_t sequence) noexcept;
    // For the metrics: a request is in progress, and is answered, or its client went.
    void begin_counting(Pending& pending, std::uint32_t place, std::uint64_t begun_ns) noexcept;
    void end_counting(Pending& pending) noexcept;

    void encode_answer(Pending& pending, Answer& answer);
    void append_error(std::uint32_t status, std::string_view message, bool keep_alive,
                      std::uint32_t retry_after_s = 0);
    void finish_answer(std::uint64_t sequence);
    void write_in_order();
    void tell_writable();
    void park(Pending& pending, std::size_t from);
    void queue_out();
    void flush_piece();
    void resume_stalled();
    void mark_dirty();
    bool has_place();
    bool is_idle();
    void end_handshake() noexcept;
    void time_out();
    void cut_off();
    void close();
    bool linger();
    void throw_away(std::size_t bytes);

    nanobind::object config_owner_;
    HttpConfig& config_;
    Dispatcher& dispatcher_;
    nanobind::handle self_;
    nanobind::object transport_;
    ClientInlet inlet_{*this};
    ClientOutlet outlet_;

    State state_ = State::head;
    HttpHead head_;
    ByteBuffer input_;       // bytes not consumed yet
    std::string kept_head_;  // head of the request whose body is awaited
    ByteBuffer body_;
    Block body_block_;  // the body is received into it, at body_offset_
    std::uint64_t body_offset_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::uint64_t body_filled_ = 0;
    ChunkDecoder chunks_;

    std::deque<Pending> pending_;
    std::uint64_t first_sequence_ = 1;  // of pending_.front()
    std::uint64_t next_sequence_ = 1;
    ByteBuffer out_;
    bool updating_ = false;  // inside buffer_updated: writes wait for its end
    bool dirty_ = false;
    bool stalled_ =
        false;  // reading is paused: too many requests wait, or the client does not read
    bool writing_paused_ = false;
    std::uint64_t received_ns_ = 0;    // when the request that is read began; while tracing only
    std::uint64_t body_begun_ns_ = 0;  // when its head was there, and its body not; while counting
    bool in_handshake_ = true;         // made, and not connected yet
    bool untouched_ = true;            // nothing was ever received
    bool expects_large_ = false;       // the last request's body was received where it stays
    bool closing_ = false;             // close after the last pending answer
    bool unread_ = false;              // the client may still send what will not be read
    bool lingering_ = false;
    std::size_t lingered_bytes_ = 0;
    std::uint64_t received_bytes_ = 0;
    PaceWindow pace_;
};

void bind_http_connection(nanobind::module_& m);

}  // namespace mpserve::bind
