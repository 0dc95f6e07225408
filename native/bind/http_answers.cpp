// How a connection answers: in the order of its requests, with as few writes as possible.
#include <algorithm>
#include <charconv>

#include "exchange.hpp"
#include "http_connection.hpp"
#include "lent_bytes.hpp"
#include "mpserve/http_status.hpp"
#include "mpserve/json_tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint16_t kOk = 200;
// Parts below this are put together with what goes before them: one write costs less than two.
constexpr Py_ssize_t kJoinBelow = 64 * 1024;
// Writing an answer out of less takes microseconds, which the metrics leave out.
constexpr std::uint64_t kTimeFrom = 64 * 1024;

nb::object bytes_of(std::string_view text) {
    return nb::steal(PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size())));
}

void append_number(ByteBuffer& out, std::uint64_t value) {
    char* place = out.grow(20);
    out.commit_to(std::to_chars(place, place + 20, value).ptr);
}

// Text of an answer that can not be put on the wire as it was asked for.
std::string unwritable(EncodeOutcome outcome, const TensorView& output) {
    const std::string name{output.name};
    switch (outcome) {
        case EncodeOutcome::half_float:
            return "sending " + std::string(datatype_name(output.datatype)) +
                   " data via JSON is not supported. Please use the binary data format for output";
        case EncodeOutcome::not_utf8:
            return "output '" + name +
                   "' has elements that are not UTF-8, which JSON can not carry; ask for it with "
                   "the "
                   "parameter 'binary_data'";
        default: return "output tensor shape does not match size of output for '" + name + "'";
    }
}

}  // namespace

bool HttpConnection::keeps_alive(std::uint64_t sequence) const noexcept {
    if (sequence < first_sequence_ || sequence - first_sequence_ >= pending_.size()) return false;
    return pending_[sequence - first_sequence_].keep_alive && !config_.draining;
}

// Moves what was appended to `out_` since `from` to a request that is not the first to be answered.
void HttpConnection::park(Pending& pending, std::size_t from) {
    pending.parked.push_back(bytes_of(out_.view().substr(from)));
    out_.truncate(from);
}

void HttpConnection::append_error(std::uint32_t status, std::string_view message, bool keep_alive,
                                  std::uint32_t retry_after_s) {
    ByteBuffer body(message.size() + 32);
    body.append("{\"error\":");
    write_json_string(message, body);
    body.push_back('}');
    out_.append("HTTP/1.1 ");
    append_number(out_, status);
    out_.push_back(' ');
    out_.append(http_reason(status));
    out_.append("\r\nContent-Type: application/json\r\nContent-Length: ");
    append_number(out_, body.size());
    if (retry_after_s != 0) {
        out_.append("\r\nRetry-After: ");
        append_number(out_, retry_after_s);
    }
    if (!keep_alive) out_.append("\r\nConnection: close");
    out_.append("\r\n\r\n");
    out_.append(body.view());
}

void HttpConnection::encode_answer(Pending& pending, Answer& answer) {
    const bool keep_alive = pending.keep_alive && !config_.draining;
    const auto from = out_.size();
    const bool is_first = &pending == &pending_.front();
    if (answer.status != Status::ok) {
        const auto code = static_cast<std::size_t>(answer.status);
        pending.status = config_.http_status[code];
        append_error(pending.status, answer.error, keep_alive, config_.retry_after_s[code]);
        if (!is_first) park(pending, from);
        return;
    }
    pending.status = kOk;
    const auto& header = answer.request->header();
    std::string made_up;
    EncodeContext context{.style = config_.style,
                          .model_name = answer.route->model_name,
                          .model_version = answer.route->model_version,
                          .id = answer.request->text(header.id),
                          .has_id = (header.flags & kHasId) != 0,
                          .keep_alive = keep_alive,
                          .minor_version = pending.minor_version,
                          .fields = {},
                          .binary_by_default = false,
                          .request = answer.request};
    if (config_.style == ResponseStyle::mlserver && context.id.empty()) {
        made_up = make_request_id(config_);
        context.id = made_up;
        context.has_id = true;
    }
    std::string fields;
    if (!config_.event_fields.empty()) {
        append_event_fields(config_, context.model_name, context.id, fields);
    }
    const auto pairs = answer.response->text(answer.response->header().headers);
    if (!pairs.empty()) append_model_fields(config_, pairs, fields);
    context.fields = fields;
    auto& segments = config_.segments;
    segments.clear();
    const auto result = encode_infer_response(*answer.response, context, out_, segments);
    if (result.outcome != EncodeOutcome::encoded) {
        const auto output = answer.response->tensor(result.output_index);
        pending.status = result.outcome == EncodeOutcome::malformed ? 500 : 400;
        append_error(pending.status, unwritable(result.outcome, output), keep_alive);
        if (!is_first) park(pending, from);
        return;
    }
    const bool borrows = std::any_of(segments.begin(), segments.end(), [](const auto& segment) {
        return segment.borrowed != nullptr;
    });
    if (!borrows) {
        if (!is_first) park(pending, from);
        return;
    }
    // The large outputs stay where they are until the socket took them.
    auto borrow = std::make_shared<SharedBorrow>(std::move(*answer.block));
    *answer.block = {};
    for (const auto& segment : segments) {
        pending.parked.push_back(segment.borrowed != nullptr
                                     ? lent_memoryview(borrow, segment.borrowed, segment.bytes)
                                     : bytes_of(out_.view().substr(segment.offset, segment.bytes)));
    }
    out_.truncate(from);
}

void HttpConnection::on_answer(std::uint64_t sequence, Answer& answer) {
    auto* pending = find_pending(sequence);
    if (pending == nullptr || !is_open()) return;
    // Routes of decoupled models are not native, so there is one answer with outputs.
    if (!answer.final) return;
    if (answer.status == Status::ok && answer.response == nullptr) {
        answer.status = Status::internal;
        answer.error = "expected a single response, got 0";
    }
    encode_answer(*pending, answer);
    if (pending->counted) {
        const bool is_large =
            answer.completion != nullptr && answer.completion->block_bytes > kTimeFrom;
        pending->taken_ns = answer.taken_ns;
        if (is_large && pending->begun_ns == 0) pending->begun_ns = answer.at_ns - answer.taken_ns;
    }
    finish_answer(sequence);
    mark_dirty();
}

void HttpConnection::answer(std::uint64_t sequence, nb::list parts, bool close_after) {
    auto* pending = find_pending(sequence);
    if (pending == nullptr || pending->ready || !is_open()) return;
    for (nb::handle part : parts) pending->parked.push_back(nb::borrow(part));
    pending->exchange.reset();
    if (close_after) {
        pending->keep_alive = false;
        closing_ = true;
        state_ = State::ignore;
    }
    finish_answer(sequence);
    if (!updating_) flush();
}

void HttpConnection::stream(std::uint64_t sequence, nb::list parts, bool ends) {
    auto* pending = find_pending(sequence);
    if (pending == nullptr || pending->ready || !is_open()) return;
    for (nb::handle part : parts) pending->parked.push_back(nb::borrow(part));
    if (ends) {
        pending->exchange.reset();
        finish_answer(sequence);
    } else if (pending == &pending_.front()) {
        write_in_order();
    }
    if (!updating_) flush_piece();
}

void HttpConnection::make_last(std::uint64_t sequence) {
    auto* pending = find_pending(sequence);
    if (pending == nullptr) return;
    pending->keep_alive = false;
    closing_ = true;
    state_ = State::ignore;
}

bool HttpConnection::is_writable(std::uint64_t sequence) const noexcept {
    return !writing_paused_ && sequence == first_sequence_ && is_open();
}

// Python may answer in the call, so nothing of this object is held over it.
void HttpConnection::tell_writable() {
    if (writing_paused_ || pending_.empty()) return;
    const auto exchange = pending_.front().exchange;
    if (exchange.is_valid()) nb::inst_ptr<Exchange>(exchange)->tell_writable();
}

// The answer to `sequence` is in `out_` (the first) or parked. Writes all that is now in order.
void HttpConnection::finish_answer(std::uint64_t sequence) {
    auto& pending = pending_[sequence - first_sequence_];
    pending.ready = true;
    end_counting(pending);
    write_in_order();
    tell_writable();
}

// An answer that comes bit by bit is written as far as it is there.
void HttpConnection::write_in_order() {
    for (bool goes_on = true; goes_on && !pending_.empty();) {
        goes_on = pending_.front().ready;
        const auto parked = std::exchange(pending_.front().parked, {});
        if (goes_on) {
            pending_.pop_front();
            ++first_sequence_;
        }
        for (const auto& part : parked) {
            if (PyBytes_CheckExact(part.ptr()) && PyBytes_GET_SIZE(part.ptr()) < kJoinBelow) {
                out_.append({PyBytes_AS_STRING(part.ptr()),
                             static_cast<std::size_t>(PyBytes_GET_SIZE(part.ptr()))});
            } else {
                queue_out();
                outlet_.lend(part);
            }
        }
    }
}

void HttpConnection::queue_out() {
    if (out_.empty()) return;
    outlet_.queue(out_.view());
    out_.clear();
}

void HttpConnection::mark_dirty() {
    if (dirty_ || updating_) return;
    dirty_ = true;
    dispatcher_.mark_dirty(this, nb::borrow(self_));
}

void HttpConnection::flush() {
    if (!out_.empty() && is_open()) {
        outlet_.send(out_);
    }
    flush_piece();
}

// More pieces may come in this turn: they leave together.
void HttpConnection::flush_piece() {
    dirty_ = false;
    if (!is_open()) return;
    queue_out();
    if (closing_ && pending_.empty()) {
        close();
        return;
    }
    resume_stalled();
}

void HttpConnection::resume_writing() {
    writing_paused_ = false;
    tell_writable();
    resume_stalled();
}

void HttpConnection::resume_stalled() {
    if (!stalled_ || writing_paused_ || pending_.size() >= config_.max_pipelined || updating_)
        return;
    stalled_ = false;
    updating_ = true;
    if (!input_.empty()) consume(input_.view());
    updating_ = false;
    if (!stalled_ && is_open()) inlet_.resume();
    queue_out();
    if (closing_ && pending_.empty()) close();
}

}  // namespace mpserve::bind
