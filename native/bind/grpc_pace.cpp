// What a gRPC connection does about clients that are too slow, silent, or too many.
#include "grpc_connection.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kReceiving = 1;
constexpr std::uint64_t kSending = 2;
constexpr std::uint64_t kIdle = 3;  // and the number of calls until then
constexpr std::string_view kTooSlow = "the request came too slowly";

}  // namespace

void look_at_pace(GrpcConfig& config) {
    const auto now = now_ns();
    const std::vector<GrpcConnection*> all(config.connections.begin(), config.connections.end());
    for (auto* connection : all) {
        if (config.connections.contains(connection)) connection->look_at_pace(now);
    }
}

void GrpcConnection::look_at_pace(std::uint64_t now) {
    if (session_ == nullptr || transport_.is_none()) return;
    const auto keep = nb::borrow(self_);
    const auto& limits = config_.limits;
    if (writing_paused_ || closed_) {
        const auto sent = outlet_.given_bytes() - outlet_.unsent_bytes();
        if (pace_.is_too_slow(now, kSending, sent, limits.send_ns)) abort();
        return;
    }
    if (!has_settings_) {  // not even its preface
        if (pace_.is_too_slow(now, kReceiving, 0, limits.receive_ns)) abort();
        return;
    }
    if (streams_.empty()) {
        if (!shutting_ && pace_.is_still(now, kIdle + calls_, 0, limits.idle_ns)) {
            shut(limits.receive_ns);
            flush();
        }
        return;
    }
    pace_.stop();
    std::vector<std::int32_t> open_streams;
    for (const auto& stream : streams_) open_streams.push_back(stream->id);
    for (const auto id : open_streams) {
        if (auto* stream = find(id); stream != nullptr) look_at_pace_of(*stream, now);
        if (session_ == nullptr) return;
    }
    flush();
}

// What holds memory while the client does nothing for it: a head, a message, or an answer that is
// not complete. A stream between two messages may wait for as long as it likes.
void GrpcConnection::look_at_pace_of(GrpcStream& stream, std::uint64_t now) {
    const auto& limits = config_.limits;
    if (stream.gone) return;
    if (!stream.head_complete) {
        // Until it is, nothing else of the connection is read.
        if (stream.pace.is_too_slow(now, kReceiving, 0, limits.receive_ns)) {
            fail(http2::Code::enhance_your_calm);
        }
        return;
    }
    const bool streams = stream.method != nullptr && stream.method->streams;
    const bool is_receiving = !stream.ended && !stream.half_closed && !stream.has_waiting() &&
                              (!streams || stream.reader.in_message());
    if (is_receiving) {
        if (!stream.pace.is_too_slow(now, kReceiving, stream.received_bytes, limits.receive_ns)) {
            return;
        }
        take_back(stream);
        if (auto* left = live(stream.id); left != nullptr) {
            release_blocks(*left);
            refuse(*left, GrpcStatus::deadline_exceeded, kTooSlow);
        }
    } else if (stream.unsent_bytes != 0 || stream.ended) {
        const bool is_stuck =
            stream.ended ? stream.pace.is_too_slow(now, kSending, stream.sent_bytes, limits.send_ns)
                         : stream.pace.is_still(now, kSending, stream.sent_bytes, limits.send_ns);
        if (!is_stuck) return;
        take_back(stream);
        stream.ended = true;
        http2().submit_rst_stream(session_, 0, stream.id,
                                  static_cast<std::uint32_t>(http2::Code::cancel));
    } else {
        stream.pace.stop();
    }
}

// There are as many connections as there may be.
void GrpcConnection::refuse_connection() {
    ++config_.refused;
    if (config_.connections.size() > config_.limits.max_connections + kRefusedAtOnce) {
        return abort();
    }
    fail(http2::Code::enhance_your_calm);
    flush();
}

}  // namespace mpserve::bind
