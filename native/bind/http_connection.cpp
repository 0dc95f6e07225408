// How a connection reads: heads, bodies, and what each request is handed to.
#include "http_connection.hpp"

#include "exchange.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// Below this a binary body is copied from the read buffer: cheaper than a read of its own.
constexpr std::uint64_t kReceiveInPlace = 64 * 1024;
// Read for the head of a request after a large one: what of the body comes with it is copied.
constexpr std::size_t kHeadRead = 16 * 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::uint16_t kClientGone = 499;  // nginx's, and MLServer's, for an answer to nobody
constexpr std::string_view kProtocolPath = "/v2/";
constexpr std::string_view kKeepAlive = "Connection: keep-alive\r\n";
constexpr std::string_view kClose = "Connection: close\r\n";

// How much of a path is the root path. A root path that looks like a path of the protocol is one
// only before another.
std::size_t root_bytes(std::string_view path, std::string_view root_path) noexcept {
    if (!path.starts_with(root_path)) return 0;
    const auto rest = path.substr(root_path.size());
    if (!rest.starts_with('/')) return 0;
    const bool is_ambiguous = path.starts_with(kProtocolPath) && !rest.starts_with("/v2");
    return is_ambiguous ? 0 : root_path.size();
}

}  // namespace

HttpConnection::HttpConnection(nb::object config)
    : config_owner_(std::move(config)),
      config_(nb::cast<HttpConfig&>(config_owner_)),
      dispatcher_(*config_.dispatcher),
      transport_(nb::none()) {
    ++config_.handshakes;
}

HttpConnection::~HttpConnection() {
    end_handshake();
    config_.connections.erase(this);
    if (body_block_) dispatcher_.arena().release(body_block_.ref);
}

void HttpConnection::connection_made(nb::object transport) {
    end_handshake();
    inlet_.open(transport, dispatcher_.sockets());
    outlet_.open(transport);
    transport_ = std::move(transport);
    const bool has_place = this->has_place();
    config_.connections.insert(this);
    if (has_place && config_.draining) close_unless_touched_soon();
}

void HttpConnection::end_handshake() noexcept {
    if (std::exchange(in_handshake_, false)) --config_.handshakes;
}

void HttpConnection::connection_lost() {
    transport_ = nb::none();
    inlet_.close();
    outlet_.close();
    config_.connections.erase(this);
    state_ = State::ignore;
    if (body_block_) dispatcher_.arena().release(std::exchange(body_block_, {}).ref);
    // Answers that are on their way are dropped; what waits is taken back.
    auto pending = std::exchange(pending_, {});
    first_sequence_ = next_sequence_;
    for (auto& request : pending) {
        if (request.token != 0 && !request.ready) dispatcher_.forget(request.token);
        request.status = kClientGone;
        if (request.exchange.is_valid())
            request.place = nb::inst_ptr<Exchange>(request.exchange)->place;
        end_counting(request);
        if (request.exchange.is_valid())
            nb::inst_ptr<Exchange>(request.exchange)->tell_client_gone();
    }
}

bool HttpConnection::eof_received() {
    // A client that closed can not be told from one that only closed its sending side before we
    // write to it. As the peers do, take it as gone: what it asked for is taken back, not computed
    // for nobody.
    return false;
}

std::byte* HttpConnection::read_target(std::size_t& bytes) noexcept {
    if (state_ != State::body) {
        bytes = expects_large_ ? kHeadRead : config_.scratch.size();
        return config_.scratch.data();
    }
    bytes = body_bytes_ - body_filled_;
    auto* base =
        body_block_ ? body_block_.data + body_offset_ : reinterpret_cast<std::byte*>(body_.data());
    return base + body_filled_;
}

void HttpConnection::came_by_transport(std::size_t bytes) {
    buffer_updated(bytes);
    if (is_open() && !closing_) inlet_.came_by_transport();
}

void HttpConnection::buffer_updated(std::size_t bytes) {
    if (lingering_) {
        throw_away(bytes);
        return;
    }
    updating_ = true;
    untouched_ = false;
    received_bytes_ += bytes;
    if (dispatcher_.traces().is_on() && state_ == State::head && input_.empty()) {
        received_ns_ = now_ns();
    }
    if (state_ == State::body) {
        body_filled_ += bytes;
        if (body_filled_ == body_bytes_) finish_body();
    } else {
        const std::string_view fresh{reinterpret_cast<const char*>(config_.scratch.data()), bytes};
        if (input_.empty()) {
            consume(fresh);
        } else {
            input_.append(fresh);
            consume(input_.view());
        }
    }
    updating_ = false;
    flush();
}

// As `parse_head`; paths are those of the server, whether or not a proxy took the root path off.
HeadResult HttpConnection::read_head(std::string_view data) {
    const auto result = parse_head(data, head_, config_.head_limits);
    if (!config_.root_path.empty() && result.status == HeadStatus::complete) {
        const auto taken_off = root_bytes(head_.path, config_.root_path);
        head_.path.remove_prefix(taken_off);
        head_.target.remove_prefix(taken_off);
    }
    return result;
}

// Reads requests from `data`, which is the read buffer or `input_`; what is left goes to `input_`.
void HttpConnection::consume(std::string_view data) {
    std::size_t at = 0;
    while (at < data.size() && state_ != State::ignore && state_ != State::body) {
        if (state_ == State::chunked) {
            auto rest = data.substr(at);
            const bool go_on = feed_chunks(rest);
            at = data.size() - rest.size();
            if (!go_on) break;
            continue;
        }
        if (pending_.size() >= config_.max_pipelined || writing_paused_) {
            inlet_.pause();
            stalled_ = true;
            break;
        }
        const auto result = read_head(data.substr(at));
        if (result.status == HeadStatus::incomplete) break;
        if (result.status == HeadStatus::bad) {
            protocol_error(result.http_status, result.reason);
            break;
        }
        if (!take_body(data, at, result.head_bytes)) break;
    }
    const auto left = state_ == State::ignore ? std::string_view{} : data.substr(at);
    if (data.data() == input_.data()) {
        if (!left.empty()) std::memmove(input_.data(), left.data(), left.size());
        input_.truncate(left.size());
    } else if (!left.empty()) {
        input_.append(left);
    }
}

// The head at `at` is complete. Handles the request when its body is there too, else prepares for
// the body. False when nothing more can be read now.
bool HttpConnection::take_body(std::string_view data, std::size_t& at, std::size_t head_bytes) {
    const auto head = data.substr(at, head_bytes);
    const auto after = data.substr(at + head_bytes);
    expects_large_ = false;
    if (head_.chunked) {
        keep_head(head);
        body_.clear();
        chunks_.reset({.max_body_bytes = config_.max_body_bytes});
        state_ = State::chunked;
        if (dispatcher_.traffic().is_on()) body_begun_ns_ = now_ns();
        at += head_bytes;
        if (head_.expect_continue && after.empty() && pending_.empty()) out_.append(kContinue);
        return true;
    }
    const auto length = head_.has_content_length ? head_.content_length : 0;
    if (length > body_limit()) {
        keep_head(head);
        refuse_body(BodyOutcome::too_large);
        return false;
    }
    if (after.size() < length) {
        if (start_body(head, length, after)) at = data.size();
        return false;
    }
    handle(after.substr(0, length), nullptr, {}, 0);
    head_.reset();
    at += head_bytes + length;
    return true;
}

void HttpConnection::keep_head(std::string_view head) {
    kept_head_.assign(head);
    head_.reset();
    read_head(kept_head_);  // its views now look into the copy
}

void HttpConnection::refuse_body(BodyOutcome outcome) {
    hand_to_python({}, nullptr, {}, outcome);
    state_ = State::ignore;
}

// False when there is no room for the body: it was refused.
bool HttpConnection::start_body(std::string_view head, std::uint64_t bytes,
                                std::string_view already) {
    keep_head(head);
    body_bytes_ = bytes;
    body_filled_ = already.size();
    state_ = State::body;
    if (dispatcher_.traffic().is_on()) body_begun_ns_ = now_ns();
    if (bytes >= kReceiveInPlace && receives_in_place()) {
        // The message's own part comes first; the byte behind the JSON lies on a tensor boundary.
        auto area = decode_bound(head_.header_length) + sizeof(MessageHeader);
        if (dispatcher_.takes_headers()) area += head.size() + config_.request_events.size();
        body_offset_ = align_up(area + head_.header_length, kTensorAlignment) - head_.header_length;
        body_block_ = dispatcher_.allocate(**find_route(head_.path), body_offset_ + bytes);
        if (!body_block_ && bytes > config_.max_body_bytes) {
            refuse_body(BodyOutcome::no_room);
            return false;
        }
    }
    std::byte* place = nullptr;
    if (body_block_) {
        place = body_block_.data + body_offset_;
        expects_large_ = true;
    } else {
        body_.clear();
        place = reinterpret_cast<std::byte*>(body_.grow(bytes));
    }
    if (!already.empty()) std::memcpy(place, already.data(), already.size());
    if (head_.expect_continue && already.empty() && pending_.empty()) out_.append(kContinue);
    return true;
}

void HttpConnection::finish_body() {
    state_ = State::head;
    const auto block = std::exchange(body_block_, {});
    if (block) {
        const std::string_view body{reinterpret_cast<const char*>(block.data + body_offset_),
                                    body_bytes_};
        handle(body, nullptr, block, body_offset_);
    } else {
        body_.commit(body_bytes_);
        handle(body_.view(), &body_, {}, 0);
        if (body_.capacity() > kReceiveInPlace) body_ = ByteBuffer();
    }
    head_.reset();
}

// False when the chunked body needs more input or the connection is at its end.
bool HttpConnection::feed_chunks(std::string_view& data) {
    for (;;) {
        const auto step = chunks_.next(data);
        switch (step.event) {
            case ChunkEvent::data: body_.append(step.data); continue;
            case ChunkEvent::need_input: return false;
            case ChunkEvent::bad: protocol_error(step.http_status, step.reason); return false;
            case ChunkEvent::complete:
                state_ = State::head;
                handle(body_.view(), &body_, {}, 0);
                head_.reset();
                return true;
        }
    }
}

HttpConnection::Pending& HttpConnection::open_pending() {
    auto& pending = pending_.emplace_back();
    pending.keep_alive = head_.keep_alive && !config_.draining;
    pending.minor_version = head_.minor_version;
    if (!pending.keep_alive) {
        closing_ = true;
        state_ = State::ignore;  // nothing may follow a last request
    }
    ++next_sequence_;
    return pending;
}

void HttpConnection::begin_counting(Pending& pending, std::uint32_t place,
                                    std::uint64_t begun_ns) noexcept {
    pending.counted = true;
    pending.kind = traffic_kind(head_.method);
    pending.place = place;
    pending.begun_ns = begun_ns;
    body_begun_ns_ = 0;
    dispatcher_.traffic().begin(pending.kind);
}

void HttpConnection::end_counting(Pending& pending) noexcept {
    if (!pending.counted) return;
    pending.counted = false;
    const auto taken_ns = pending.begun_ns != 0 ? now_ns() - pending.begun_ns : pending.taken_ns;
    dispatcher_.traffic().end(pending.kind);
    dispatcher_.traffic().answered(pending.place, pending.kind, pending.status, taken_ns);
}

void HttpConnection::tell_status(std::uint64_t sequence, std::uint32_t place,
                                 std::uint32_t status) noexcept {
    auto* pending = find_pending(sequence);
    if (pending == nullptr) return;
    pending->place = place;
    pending->status = static_cast<std::uint16_t>(status);
}

HttpConnection::Pending* HttpConnection::find_pending(std::uint64_t sequence) noexcept {
    if (sequence < first_sequence_ || sequence - first_sequence_ >= pending_.size()) return nullptr;
    return &pending_[sequence - first_sequence_];
}

void HttpConnection::handle(std::string_view body, ByteBuffer* owned_body, Block block,
                            std::uint64_t body_offset) {
    const bool is_plain = !config_.reads_origin || head_.find("origin").data() == nullptr;
    if (is_plain && head_.method == HttpMethod::get && body.empty() && answer_static()) return;
    if (is_plain && head_.method == HttpMethod::post &&
        submit_inference(body, block, body_offset)) {
        return;
    }
    hand_to_python(body, owned_body, block, BodyOutcome::read);
}

bool HttpConnection::answer_static() {
    const auto found = config_.statics.find(head_.path);
    if (found == config_.statics.end()) return false;
    ++config_.requests_static;
    const auto sequence = next_sequence_;
    auto& pending = open_pending();
    const auto from = out_.size();
    const auto& answer = found->second;
    if (pending.keep_alive && pending.minor_version > 0) {
        out_.append(answer.bytes);
    } else {
        const auto line_end = answer.bytes.find("\r\n") + 2;
        out_.append(std::string_view(answer.bytes).substr(0, line_end));
        out_.append(pending.keep_alive ? kKeepAlive : kClose);
        out_.append(std::string_view(answer.bytes).substr(line_end));
    }
    // It takes no time that could be seen, so it was never in progress.
    if (dispatcher_.traffic().is_on()) {
        dispatcher_.traffic().answered(answer.place, TrafficKind::get, answer.status, 0);
    }
    if (sequence != first_sequence_) park(pending, from);
    finish_answer(sequence);
    return true;
}

// Takes the block over.
void HttpConnection::hand_to_python(std::string_view body, ByteBuffer* owned_body, Block block,
                                    BodyOutcome outcome) {
    ++config_.requests_python;
    const auto sequence = next_sequence_;
    auto& pending = open_pending();
    auto* exchange = new Exchange(nb::borrow(self_), sequence, config_owner_);
    auto object = nb::cast(exchange, nb::rv_policy::take_ownership);
    exchange->method.assign(head_.method_text);
    exchange->target.assign(head_.target);
    exchange->minor_version = head_.minor_version;
    if (dispatcher_.traffic().is_on()) {
        begin_counting(pending, kNoPlace, body_begun_ns_ != 0 ? body_begun_ns_ : now_ns());
    }
    if (dispatcher_.traces().is_on()) {
        exchange->received_ns = received_ns_;
        exchange->complete_ns = now_ns();
    }
    exchange->body_outcome = outcome;
    exchange->content_length = head_.has_content_length ? head_.content_length : body.size();
    for (std::size_t index = 0; index < head_.field_count(); ++index) {
        const auto name = head_.field_name(index);
        const auto value = head_.field_value(index);
        const auto at = static_cast<std::uint32_t>(exchange->raw_head.size());
        exchange->raw_head.append(name).append(value);
        exchange->fields.push_back({at, static_cast<std::uint32_t>(name.size()),
                                    at + static_cast<std::uint32_t>(name.size()),
                                    static_cast<std::uint32_t>(value.size())});
    }
    if (block) {
        exchange->block = block;
        exchange->body = body.data();
    } else if (owned_body != nullptr) {
        exchange->owned_body = std::move(*owned_body);
        *owned_body = ByteBuffer();
        exchange->body = exchange->owned_body.data();
    } else {
        exchange->owned_body.append(body);
        exchange->body = exchange->owned_body.data();
    }
    exchange->body_bytes = body.size();
    if (outcome != BodyOutcome::read) {
        pending.keep_alive = false;
        closing_ = unread_ = true;
    }
    pending.exchange = object;
    config_.on_exchange(object);
}

void HttpConnection::protocol_error(std::uint32_t status, std::string_view reason) {
    head_.reset();
    head_.keep_alive = false;
    const auto sequence = next_sequence_;
    auto& pending = open_pending();
    const auto from = out_.size();
    const auto text = nb::cast<nb::bytes>(
        config_.on_protocol_error(status, nb::str(reason.data(), reason.size())));
    out_.append({text.c_str(), text.size()});
    if (sequence != first_sequence_) park(pending, from);
    finish_answer(sequence);
    state_ = State::ignore;
    closing_ = unread_ = true;
}

}  // namespace mpserve::bind
