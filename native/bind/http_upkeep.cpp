// What an HTTP connection does by the clock: slow, silent and idle clients, and its orderly end.
#include <sys/socket.h>

#include "http_connection.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr double kLingerSeconds = 1.0;
constexpr double kUntouchedSeconds = 1.0;
constexpr std::size_t kLingerBytes = 1 << 20;
constexpr std::uint32_t kRequestTimeout = 408;
constexpr std::uint64_t kSecond = 1'000'000'000;
// What the next request is, beside bodies that are received: a number that no request has.
constexpr std::uint64_t kSending = 0;

std::string too_slow(std::uint64_t limit_ns) {
    return "the request did not come within " + std::to_string(limit_ns / kSecond) +
           " s, or its body slower than " + std::to_string(PaceWindow::kLeastBytesPerSecond) +
           " bytes a second";
}

}  // namespace

void look_at_pace(HttpConfig& config) {
    const auto now = now_ns();
    const std::vector<HttpConnection*> all(config.connections.begin(), config.connections.end());
    for (auto* connection : all) {
        if (config.connections.contains(connection)) connection->look_at_pace(now);
    }
}

// One window is enough: who reads too slowly is not read from, and who sends is not idle.
void HttpConnection::look_at_pace(std::uint64_t now) {
    if (!is_open()) return;
    const auto& limits = config_.limits;
    const bool is_ending = lingering_ || (closing_ && pending_.empty());
    const bool is_receiving = state_ == State::body || state_ == State::chunked || !input_.empty();
    if (writing_paused_ || is_ending) {
        const auto sent = outlet_.given_bytes() - outlet_.unsent_bytes();
        if (pace_.is_too_slow(now, kSending, sent, limits.send_ns)) cut_off();
    } else if (is_receiving && !stalled_ && state_ != State::ignore) {
        const auto body_bytes = state_ == State::head ? 0 : received_bytes_;
        if (pace_.is_too_slow(now, next_sequence_, body_bytes, limits.receive_ns)) time_out();
    } else if (pending_.empty()) {
        if (pace_.is_still(now, next_sequence_, received_bytes_, limits.idle_ns)) close();
    } else {
        pace_.stop();
    }
}

// The client is told; what it sends after that is not read.
void HttpConnection::time_out() {
    const auto keep = nb::borrow(self_);
    if (body_block_) dispatcher_.arena().release(std::exchange(body_block_, {}).ref);
    body_ = ByteBuffer();
    input_ = ByteBuffer();
    protocol_error(kRequestTimeout, too_slow(config_.limits.receive_ns));
    flush();
}

void HttpConnection::cut_off() {
    const auto keep = nb::borrow(self_);
    out_.clear();
    inlet_.close();
    outlet_.close();
    transport_.attr("abort")();
}

// There are as many connections as there may be. False when this one is one too many.
bool HttpConnection::has_place() {
    if (config_.connections.size() < config_.limits.max_connections) return true;
    ++config_.refused;
    if (config_.connections.size() >= config_.limits.max_connections + kRefusedAtOnce) {
        cut_off();
        return false;
    }
    out_.append(config_.busy_answer);
    state_ = State::ignore;
    closing_ = unread_ = true;
    flush();
    return false;
}

void HttpConnection::drain() {
    if (!is_open()) return;
    // A request of which some has come, or may come yet, is answered; that answer is the last.
    if (pending_.empty() || state_ != State::head || !input_.empty()) return;
    closing_ = true;
}

void HttpConnection::close_idle() {
    if (!untouched_ && is_idle()) close();
}

void HttpConnection::close_untouched() {
    if (untouched_ && is_idle()) close();
}

// Whether nothing of a request is here, nor waits in the kernel for the loop's next turn.
bool HttpConnection::is_idle() {
    if (!is_open() || !pending_.empty() || state_ != State::head || !input_.empty()) return false;
    const auto socket = transport_.attr("get_extra_info")("socket");
    if (socket.is_none()) return true;
    char first = 0;
    const auto descriptor = nb::cast<int>(socket.attr("fileno")());
    return ::recv(descriptor, &first, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

void HttpConnection::close_unless_touched_soon() {
    const auto loop = nb::module_::import_("asyncio").attr("get_running_loop")();
    auto close = nb::cpp_function(
        [self = nb::borrow(self_)] { nb::inst_ptr<HttpConnection>(self)->close_untouched(); });
    loop.attr("call_later")(kUntouchedSeconds, close);
}

void HttpConnection::close() {
    if (!is_open() || lingering_) return;
    state_ = State::ignore;
    closing_ = true;
    if (unread_ && linger()) return;
    inlet_.close();
    transport_.attr("close")();
}

// What is closed with bytes unread is reset, and a reset may overtake the answer that tells the
// client why. So our side is closed, and for a while what comes is thrown away (RFC 9112, 9.6).
// False where one side cannot be closed alone (TLS).
bool HttpConnection::linger() {
    if (!nb::hasattr(transport_, "can_write_eof")) return false;
    if (!nb::cast<bool>(transport_.attr("can_write_eof")())) return false;
    lingering_ = true;
    inlet_.hand_back();
    transport_.attr("write_eof")();
    const auto loop = nb::module_::import_("asyncio").attr("get_running_loop")();
    loop.attr("call_later")(kLingerSeconds, transport_.attr("close"));
    return true;
}

// More of what nobody wants.
void HttpConnection::throw_away(std::size_t bytes) {
    lingered_bytes_ += bytes;
    if (lingered_bytes_ > kLingerBytes) transport_.attr("close")();
}

}  // namespace mpserve::bind
