// What a gRPC connection does by the clock: deadlines, keep-alive, ages, and its orderly end.
#include <algorithm>

#include "grpc_connection.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kHandshakeNs = 120 * kSecond;
// How long calls that are on their way when the end is announced are still taken.
constexpr std::uint64_t kGoawayNs = kSecond;
constexpr std::uint8_t kKeepalivePing[8] = {'k', 'e', 'e', 'p', 0, 0, 0, 0};
constexpr std::uint8_t kShutdownPing[8] = {'e', 'n', 'd', 0, 0, 0, 0, 0};
constexpr std::string_view kTooManyPings = "too_many_pings";

void take_earlier(std::uint64_t& next, std::uint64_t at) noexcept {
    if (at != 0 && (next == 0 || at < next)) next = at;
}

// 10 % more or less, so that connections that were made together do not end together.
std::uint64_t jittered(std::uint64_t age_ns, const void* seed) noexcept {
    const auto mixed = reinterpret_cast<std::uintptr_t>(seed) * 0x9e3779b97f4a7c15ULL >> 40;
    return age_ns / 10 * 9 + age_ns / 5 / (1u << 24) * mixed;
}

}  // namespace

std::uint64_t GrpcConnection::look(std::uint64_t now) {
    if (session_ == nullptr || transport_.is_none()) return 0;
    const auto keep = nb::borrow(self_);
    std::uint64_t next = 0;
    std::vector<std::int32_t> late;
    for (const auto& stream : streams_) {
        if (stream->deadline_ns == 0 || stream->ended || stream->gone) continue;
        if (stream->deadline_ns <= now) {
            late.push_back(stream->id);
        } else {
            take_earlier(next, stream->deadline_ns);
        }
    }
    for (const auto id : late) {
        auto* stream = live(id);
        if (stream == nullptr) continue;
        take_back(*stream);
        stream = live(id);
        if (stream != nullptr) refuse(*stream, GrpcStatus::deadline_exceeded, kDeadlineMessage);
    }
    if (session_ == nullptr) return 0;
    take_earlier(next, look_at_line(now));
    flush();
    return next;
}

// What concerns the connection as a whole.
std::uint64_t GrpcConnection::look_at_line(std::uint64_t now) {
    std::uint64_t next = 0;
    const auto& times = config_.times;
    if (!has_settings_) {
        if (now >= made_ns_ + kHandshakeNs) {
            abort();
            return 0;
        }
        take_earlier(next, made_ns_ + kHandshakeNs);
    }
    if (times.max_age_ns != 0 && !shutting_) {
        if (age_ends_ns_ == 0) age_ends_ns_ = made_ns_ + jittered(times.max_age_ns, this);
        if (now >= age_ends_ns_) {
            shut(times.max_age_grace_ns);
        } else {
            take_earlier(next, age_ends_ns_);
        }
    }
    if (shutting_ && !said_goaway_) {
        if (now >= goaway_at_ns_) {
            say_goaway();
        } else {
            take_earlier(next, goaway_at_ns_);
        }
    }
    if (cut_off_ns_ != 0) {
        if (now >= cut_off_ns_) {
            abort();
            return 0;
        }
        take_earlier(next, cut_off_ns_);
    }
    if (times.keepalive_ns == 0) return next;
    if (ping_sent_ns_ != 0) {
        if (now >= ping_sent_ns_ + times.keepalive_timeout_ns) {
            abort();
            return 0;
        }
        take_earlier(next, ping_sent_ns_ + times.keepalive_timeout_ns);
    } else if (now >= last_read_ns_ + times.keepalive_ns) {
        take_earlier(next,
                     now + (send_keepalive(now) ? times.keepalive_timeout_ns : times.keepalive_ns));
    } else {
        take_earlier(next, last_read_ns_ + times.keepalive_ns);
    }
    return next;
}

bool GrpcConnection::send_keepalive(std::uint64_t now) {
    const auto& times = config_.times;
    if (streams_.empty() && !times.keepalive_without_calls) return false;
    if (times.max_pings_without_data != 0 && pings_without_data_ >= times.max_pings_without_data) {
        return false;
    }
    http2().submit_ping(session_, 0, kKeepalivePing);
    ++pings_without_data_;
    ping_sent_ns_ = now;
    return true;
}

int GrpcConnection::on_begin_frame(const http2::FrameHead& head) {
    const bool is_empty_data =
        head.type == http2::kData && head.length == 0 && (head.flags & http2::kFlagEndStream) == 0;
    switch (head.type) {
        case http2::kHeaders:
        case http2::kPing:
        case http2::kWindowUpdate: return 0;
        case http2::kData:
            if (!is_empty_data) return 0;
            break;
        case http2::kSettings:
            has_settings_ = true;
            if ((head.flags & http2::kFlagAck) != 0) return 0;
            break;
        default: break;
    }
    if (budget_.spend(last_read_ns_)) return 0;
    fault_ = http2::Code::enhance_your_calm;
    return http2::kErrorCallback;
}

int GrpcConnection::on_frame(const http2::FrameHead& head) {
    if (head.type == http2::kPing) {
        if ((head.flags & http2::kFlagAck) == 0) {
            if (strikes_.on_ping(last_read_ns_, !streams_.empty(), config_.times.strikes)) return 0;
            http2().submit_goaway(session_, 0, http2().session_get_last_proc_stream_id(session_),
                                  static_cast<std::uint32_t>(http2::Code::enhance_your_calm),
                                  reinterpret_cast<const std::uint8_t*>(kTooManyPings.data()),
                                  kTooManyPings.size());
            closing_ = true;
            return 0;
        }
        const auto& opaque = reinterpret_cast<const http2::PingFrame&>(head).opaque;
        const bool is_end = std::equal(std::begin(opaque), std::end(opaque), kShutdownPing);
        if (is_end && shutting_) say_goaway();
        return 0;
    }
    if (head.type != http2::kHeaders && head.type != http2::kData) return 0;
    auto* stream = find(head.stream_id);
    if (stream == nullptr) return 0;
    if (head.type == http2::kHeaders) stream->head_complete = true;
    if ((head.flags & http2::kFlagEndStream) != 0) stream->half_closed = true;
    touch(*stream);
    return 0;
}

void GrpcConnection::drain() {
    if (session_ == nullptr) return;
    const auto keep = nb::borrow(self_);
    shut(0);
    std::vector<std::int32_t> open_streams;
    for (const auto& stream : streams_) {
        if (stream->input.is_valid()) open_streams.push_back(stream->id);
    }
    for (const auto id : open_streams) {
        auto* stream = live(id);
        if (stream == nullptr || !stream->input.is_valid()) continue;
        const auto input = stream->input;
        input.attr("on_drain")();
    }
    config_.want_look(look_at_line(now_ns()));
    flush();
}

// Announces the end: calls that are already on their way are still taken.
void GrpcConnection::shut(std::uint64_t grace_ns) {
    if (shutting_) return;
    shutting_ = true;
    const auto now = now_ns();
    goaway_at_ns_ = now + kGoawayNs;
    if (grace_ns != 0) cut_off_ns_ = now + grace_ns;
    http2().submit_shutdown_notice(session_);
    http2().submit_ping(session_, 0, kShutdownPing);
    config_.want_look(goaway_at_ns_);
}

void GrpcConnection::say_goaway() {
    if (said_goaway_) return;
    said_goaway_ = true;
    http2().submit_goaway(session_, 0, http2().session_get_last_proc_stream_id(session_), 0,
                          nullptr, 0);
}

}  // namespace mpserve::bind
