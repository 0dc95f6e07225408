// How a gRPC connection reads, writes and ends.
#include "grpc_connection.hpp"

#include <algorithm>

#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kMaxStreams = 1024;
// What a client may send before its messages were handed on: of one call, and of all.
constexpr std::int32_t kStreamWindow = 1 << 22;
constexpr std::int32_t kConnectionWindow = 1 << 24;
constexpr std::uint32_t kMaxFrameBytes = 1 << 20;
constexpr std::uint32_t kMaxHeadBytes = 64 * 1024;
constexpr std::size_t kWriteBytes = 256 * 1024;  // at once

// Why a session that the library gave up ends.
http2::Code code_of(ssize_t error) noexcept {
    switch (error) {
        case http2::kErrorBadMagic: return http2::Code::no_error;  // nobody would understand it
        case http2::kErrorFlooded:
        case http2::kErrorContinuations: return http2::Code::enhance_your_calm;
        default: return http2::Code::internal_error;
    }
}

}  // namespace

GrpcConnection::GrpcConnection(nb::object config)
    : config_owner_(std::move(config)),
      config_(nb::cast<GrpcConfig&>(config_owner_)),
      dispatcher_(*config_.dispatcher),
      transport_(nb::none()) {
    ++config_.handshakes;
}

GrpcConnection::~GrpcConnection() {
    end_handshake();
    config_.connections.erase(this);
    for (auto& stream : streams_) {
        if (stream->token != 0) dispatcher_.forget(stream->token);
        release_blocks(*stream);
    }
    if (session_ != nullptr) http2().session_del(session_);
}

void GrpcConnection::make_session() {
    if (http2().session_server_new2(&session_, config_.callbacks, this, config_.option) != 0) {
        throw std::bad_alloc();
    }
    const http2::Setting settings[] = {
        {http2::kMaxConcurrentStreams, kMaxStreams},
        {http2::kInitialWindowSize, static_cast<std::uint32_t>(kStreamWindow)},
        {http2::kMaxFrameSize, kMaxFrameBytes},
        {http2::kMaxHeaderListSize, kMaxHeadBytes}};
    http2().submit_settings(session_, 0, settings, std::size(settings));
    http2().session_set_local_window_size(session_, 0, 0, kConnectionWindow);
}

void GrpcConnection::end_handshake() noexcept {
    if (std::exchange(in_handshake_, false)) --config_.handshakes;
}

void GrpcConnection::connection_made(nb::object transport) {
    end_handshake();
    inlet_.open(transport, dispatcher_.sockets());
    outlet_.open(transport);
    transport_ = std::move(transport);
    const bool has_place = config_.connections.size() < config_.limits.max_connections;
    config_.connections.insert(this);
    made_ns_ = last_read_ns_ = now_ns();
    make_session();
    if (!has_place) return refuse_connection();
    config_.want_look(look_at_line(made_ns_));
    if (config_.draining) drain();
    flush();
}

void GrpcConnection::connection_lost() {
    transport_ = nb::none();
    inlet_.close();
    outlet_.close();
    updating_ = true;  // nothing is written any more
    drop_session();
    config_.forget(this);
}

// Takes back what was asked for. Python is told, and may call in again.
void GrpcConnection::drop_session() {
    if (session_ == nullptr) return;
    http2().session_del(std::exchange(session_, nullptr));
    touched_.clear();
    while (!streams_.empty()) {
        auto& stream = *streams_.back();
        take_back(stream);
        recycle(stream);
    }
}

std::byte* GrpcConnection::read_target(std::size_t& bytes) noexcept {
    bytes = config_.scratch.size();
    return config_.scratch.data();
}

void GrpcConnection::came_by_transport(std::size_t bytes) {
    buffer_updated(bytes);
    if (!transport_.is_none() && !closing_) inlet_.came_by_transport();
}

void GrpcConnection::buffer_updated(std::size_t bytes) {
    if (session_ == nullptr || closing_) return;
    last_read_ns_ = now_ns();
    ping_sent_ns_ = 0;  // whatever came, the client is there
    updating_ = true;
    const auto* data = reinterpret_cast<const std::uint8_t*>(config_.scratch.data());
    const auto read = http2().session_mem_recv(session_, data, bytes);
    if (read < 0) {
        fail(fault_ != http2::Code::no_error ? fault_ : code_of(read));
    }
    pump();
}

// Looks at the calls that were touched and writes, until there is nothing more to do.
void GrpcConnection::pump() {
    updating_ = true;
    do {
        advance_touched();
        pull();
    } while (!touched_.empty());
    updating_ = false;
    if (!out_.empty()) outlet_.send(out_);
    close_when_done();
}

void GrpcConnection::flush() {
    dirty_ = false;
    if (updating_ || session_ == nullptr) return;
    pump();
}

// Takes frames from the library while the socket takes them.
void GrpcConnection::pull() {
    while (session_ != nullptr && !writing_paused_) {
        const std::uint8_t* data = nullptr;
        const auto bytes = http2().session_mem_send(session_, &data);
        if (bytes < 0) {
            abort();
            return;
        }
        if (bytes == 0 && std::exchange(sent_piece_, false)) continue;
        if (bytes == 0) return;
        out_.append({reinterpret_cast<const char*>(data), static_cast<std::size_t>(bytes)});
        if (out_.size() >= kWriteBytes) queue_out();
    }
}

void GrpcConnection::queue_out() {
    if (out_.empty()) return;
    outlet_.queue(out_.view());
    out_.clear();
}

void GrpcConnection::mark_dirty() {
    if (dirty_ || updating_) return;
    dirty_ = true;
    dispatcher_.mark_dirty(this, nb::borrow(self_));
}

void GrpcConnection::resume_writing() {
    writing_paused_ = false;
    flush();
}

// The client broke the rules, or can not be talked to: it is told, and the connection ends.
void GrpcConnection::fail(http2::Code code) {
    if (code != http2::Code::no_error) {
        http2().session_terminate_session(session_, static_cast<std::uint32_t>(code));
    }
    closing_ = true;
}

void GrpcConnection::close_when_done() {
    if (session_ == nullptr || transport_.is_none()) return;
    if (!closing_ && http2().session_want_read(session_) == 0 &&
        http2().session_want_write(session_) == 0) {
        closing_ = true;
    }
    if (!closing_ && said_goaway_ && streams_.empty()) closing_ = true;
    if (!closing_ || closed_) return;
    closed_ = true;
    inlet_.close();
    transport_.attr("close")();
}

void GrpcConnection::abort() {
    closing_ = closed_ = true;
    out_.clear();
    inlet_.close();
    outlet_.close();
    if (!transport_.is_none()) transport_.attr("abort")();
}

}  // namespace mpserve::bind
