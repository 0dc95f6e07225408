// One client's gRPC connection: an asyncio BufferedProtocol over HTTP/2.
//
// nghttp2 has the frames, HPACK and flow control; this class has the calls. The library's callbacks
// only note what came; then `advance` looks at each call that was touched: Python, and the model
// queues, are met outside of the library alone. `ModelInfer`, where it is common, and answers that
// were prepared go past Python; every other call is handed to it (grpc_call.hpp).
//
// Guarantees: a call is answered once. A call whose client went, or whose deadline passed, is taken
//   back. A client that does not read stops its own calls: nothing is taken from the library while
//   the socket is full, and a stream's messages are given back to its window only once they were
//   handed on.
// Assumes: one event loop thread.
// Owner: the transport; calls in flight keep the object alive until they are answered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "client_inlet.hpp"
#include "client_outlet.hpp"
#include "grpc_config.hpp"
#include "mpserve/frame_budget.hpp"

namespace mpserve::bind {

class GrpcConnection final : public AnswerSink, public ByteTaker {
public:
    explicit GrpcConnection(nanobind::object config);
    ~GrpcConnection() override;

    // asyncio.BufferedProtocol
    void connection_made(nanobind::object transport);
    void connection_lost();
    void buffer_updated(std::size_t bytes) override;
    void pause_writing() noexcept { writing_paused_ = true; }
    void resume_writing();
    std::byte* read_target(std::size_t& bytes) noexcept override;
    // The same, of bytes that the transport has read.
    void came_by_transport(std::size_t bytes);
    nanobind::object keep() const override { return nanobind::borrow(self_); }

    // AnswerSink
    void on_answer(std::uint64_t tag, Answer& answer) override;
    void flush() override;

    // Calls, for Python; a call that is not open any more is left alone.
    void finish(std::int32_t id, nanobind::handle result);
    // A stream's input may have room again.
    void read_on(std::int32_t id);
    // Metadata behind the answer, as it stands there (`append_for_grpc`).
    void set_trailers(std::int32_t id, std::string_view pairs);
    void send(std::int32_t id, nanobind::handle message);
    void end(std::int32_t id, nanobind::handle failure);
    void set_on_client_gone(std::int32_t id, nanobind::object callback);
    // Whether what is sent of a stream goes out before long; and a call when it will again.
    bool is_writable(std::int32_t id) noexcept;
    void set_on_writable(std::int32_t id, nanobind::object callback);
    std::uint64_t begun_ns(std::int32_t id);
    std::uint64_t deadline_ns(std::int32_t id);
    nanobind::dict metadata(std::int32_t id);
    bool is_open(std::int32_t id) noexcept { return find(id) != nullptr; }

    // Takes no new calls, and closes after the last.
    void drain();
    void abort();
    // Does what is due; returns when something will be, 0 for never.
    std::uint64_t look(std::uint64_t now_ns);
    // Ends what its client is too slow for, and the connection when it was silent for too long.
    void look_at_pace(std::uint64_t now_ns);

    void set_self(nanobind::handle self) noexcept { self_ = self; }

    // What the library calls.
    int on_begin_frame(const http2::FrameHead& head);
    int on_begin_headers(const http2::FrameHead& head);
    int on_field(const http2::FrameHead& head, std::string_view name, std::string_view value);
    int on_data(std::int32_t id, std::string_view data);
    int on_frame(const http2::FrameHead& head);
    int on_frame_sent(const http2::FrameHead& head);
    int on_stream_close(std::int32_t id);
    ssize_t read_body(GrpcStream& stream, std::uint8_t* place, std::size_t bytes,
                      std::uint32_t& flags);

    int send_piece(GrpcStream& stream, const std::uint8_t* frame_head, std::size_t bytes);
    std::size_t frame_bytes(std::int32_t id, std::size_t window) noexcept;

private:
    const http2::Library& http2() const noexcept { return *config_.library; }
    GrpcStream* find(std::int32_t id) noexcept;
    GrpcStream* live(std::int32_t id) noexcept;  // found, and not answered
    void touch(GrpcStream& stream);

    // Requests.
    void take_field(GrpcStream& stream, std::string_view name, std::string_view value);
    void start_block(GrpcStream& stream, const GrpcFrameStep& step);
    void release_blocks(GrpcStream& stream) noexcept;
    void advance_touched();
    void advance(GrpcStream& stream);
    void open(GrpcStream& stream);
    void open_stream(GrpcStream& stream);
    void send_elsewhere(GrpcStream& stream);
    void end_handshake() noexcept;
    bool is_refused(GrpcStream& stream);
    void hand_on_messages(GrpcStream& stream);
    bool takes_message(GrpcStream& stream);
    bool takes_calls() const noexcept;
    void resume_parked();
    void tell_writable(GrpcStream& stream);
    void hand_on(GrpcStream& stream, GrpcMessage& message);
    void refuse_fault(GrpcStream& stream);
    void answer_unary(GrpcStream& stream, std::string_view message, nanobind::object as_bytes);
    bool submit_inference(GrpcStream& stream, std::string_view message);
    bool submit_in_place(GrpcStream& stream, GrpcMessage& message);
    void submit(GrpcStream& stream, Submission submission);
    void tell_half_close(GrpcStream& stream);
    void keep_messages(GrpcStream& stream);
    void give_window_back(GrpcStream& stream);
    void drop_messages(GrpcStream& stream);
    void take_back(GrpcStream& stream);
    void recycle(GrpcStream& stream);
    nanobind::object call_of(GrpcStream& stream);
    nanobind::dict metadata_of(const GrpcStream& stream) const;
    // Calls Python for a call; what it raises is told, and ends the call.
    template <typename Function>
    void call_python(GrpcStream& stream, Function function);
    void on_python_error(std::int32_t id, const std::string& path, nanobind::python_error& error);

    // Answers.
    void add_unsent(GrpcStream& stream, std::uint64_t bytes) noexcept {
        stream.unsent_bytes += bytes;
        unsent_bytes_ += bytes;
    }
    void append_message(GrpcStream& stream, std::string_view message);
    void put_answer(GrpcStream& stream, Answer& answer);
    void finish_body(GrpcStream& stream, std::uint32_t& flags);
    std::size_t next_piece(GrpcStream& stream, std::size_t bytes) noexcept;
    void start_answer(GrpcStream& stream);
    // For the metrics: a call of a method that there is begins, and ends.
    void begin_counting(GrpcStream& stream) noexcept;
    void end_counting(GrpcStream& stream, std::uint32_t status) noexcept;
    void end_answer(GrpcStream& stream, std::uint32_t status, std::string_view message);
    void refuse(GrpcStream& stream, GrpcStatus status, std::string_view message) {
        if (stream.input.is_valid()) take_back(stream);  // what it has begun is for nobody
        end_answer(stream, static_cast<std::uint32_t>(status), message);
    }
    void refuse_http(GrpcStream& stream, std::string_view status);
    void refuse_with(GrpcStream& stream, nanobind::handle failure);
    void put_result(GrpcStream& stream, nanobind::handle result);
    bool put_message(GrpcStream& stream, std::string_view message);
    GrpcEncoding wanted_encoding(const GrpcStream& stream) const noexcept;

    // The wire.
    void make_session();
    void drop_session();
    void pump();
    void pull();
    void queue_out();
    void look_at_pace_of(GrpcStream& stream, std::uint64_t now_ns);
    void refuse_connection();
    void fail(http2::Code code);
    void mark_dirty();
    void close_when_done();
    void shut(std::uint64_t grace_ns);
    void say_goaway();
    std::uint64_t look_at_line(std::uint64_t now_ns);
    bool send_keepalive(std::uint64_t now_ns);

    nanobind::object config_owner_;
    GrpcConfig& config_;
    Dispatcher& dispatcher_;
    nanobind::handle self_;
    nanobind::object transport_;
    ClientInlet inlet_{*this};
    ClientOutlet outlet_;
    http2::Session* session_ = nullptr;

    std::vector<std::unique_ptr<GrpcStream>> streams_;
    std::vector<GrpcStream*> touched_;
    std::vector<GrpcStream*> looking_at_;
    std::vector<std::int32_t> parked_;  // calls that wait until more answers were sent
    std::uint64_t unsent_bytes_ = 0;    // of answers
    ByteBuffer out_;
    bool in_handshake_ = true;  // made, and not connected yet
    bool updating_ = false;     // inside `pump`: what is to be written waits for its end
    bool dirty_ = false;
    bool writing_paused_ = false;
    bool closing_ = false;     // close when everything is written
    bool closed_ = false;      // the transport was told so
    bool sent_piece_ = false;  // the library stopped only because a piece went out past it

    std::uint64_t calls_ = 0;      // ever begun
    std::uint64_t answer_ns_ = 0;  // when the answer came that is put, where that is known
    PaceWindow pace_;
    FrameBudget budget_;
    PingStrikes strikes_;
    http2::Code fault_ = http2::Code::no_error;  // why a callback ended the session
    std::uint64_t made_ns_ = 0;
    std::uint64_t last_read_ns_ = 0;
    std::uint64_t ping_sent_ns_ = 0;  // 0: none that is not answered
    std::uint32_t pings_without_data_ = 0;
    std::uint64_t age_ends_ns_ = 0;
    std::uint64_t cut_off_ns_ = 0;  // after the graceful end; 0: never
    std::uint64_t goaway_at_ns_ = 0;
    bool has_settings_ = false;  // of the client: it speaks HTTP/2
    bool shutting_ = false;
    bool said_goaway_ = false;
};

void bind_grpc_connection(nanobind::module_& m);

}  // namespace mpserve::bind
