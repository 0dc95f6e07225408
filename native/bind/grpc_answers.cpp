// How a gRPC connection answers: heads, messages, statuses.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "grpc_connection.hpp"
#include "mpserve/header_pairs.hpp"
#include "mpserve/wake.hpp"
#include "proto_infer.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::size_t kFrameBytes = 16 * 1024;            // of frames that are copied
constexpr std::size_t kLargeFrameBytes = 1024 * 1024;     // of frames that are not
constexpr std::uint64_t kMaxUnsentOfStream = 256 * 1024;  // until it waits for its client
constexpr std::uint64_t kLendOutputsFrom = 64 * 1024;
constexpr std::size_t kLendFrom = 4 * 1024;  // less of an output is copied: cheaper than a write

constexpr http2::Field fixed_field(std::string_view name, std::string_view value) noexcept {
    return {name.data(), value.data(), name.size(), value.size(), http2::kNoCopyBoth};
}

http2::Field copied_field(std::string_view name, std::string_view value) noexcept {
    return {name.data(), value.data(), name.size(), value.size(), 0};
}

constexpr http2::Field kOk = fixed_field(":status", "200");
constexpr http2::Field kContentType = fixed_field("content-type", "application/grpc");
constexpr http2::Field kAcceptEncoding =
    fixed_field("grpc-accept-encoding", "identity, deflate, gzip");
constexpr http2::Field kStatusOk = fixed_field("grpc-status", "0");

constexpr std::string_view encoding_name(GrpcEncoding encoding) noexcept {
    return encoding == GrpcEncoding::gzip ? "gzip" : "deflate";
}

ssize_t read_body(http2::Session*, std::int32_t, std::uint8_t* place, std::size_t bytes,
                  std::uint32_t* flags, http2::DataSource* source, void* user) {
    try {
        return static_cast<GrpcConnection*>(user)->read_body(
            *static_cast<GrpcStream*>(source->pointer), place, bytes, *flags);
    } catch (...) {
        return http2::kErrorCallback;
    }
}

void put_prefix(char* place, std::size_t bytes, bool compressed) noexcept {
    place[0] = compressed ? 1 : 0;
    for (std::size_t index = 1; index < kGrpcPrefixBytes; ++index) {
        place[index] = static_cast<char>(bytes >> 8 * (kGrpcPrefixBytes - 1 - index));
    }
}

// Status, message and metadata of a call as the fields behind its answer; holds the texts they look
// into, but for the metadata.
class StatusFields {
public:
    StatusFields(std::uint32_t status, std::string_view message, std::string_view trailers) {
        if (status == 0) {
            fields_[count_++] = kStatusOk;
        } else {
            const auto end = std::to_chars(number_, number_ + sizeof number_, status).ptr;
            fields_[count_++] =
                copied_field("grpc-status", {number_, static_cast<std::size_t>(end - number_)});
            message_ = percent_encode(message.substr(0, kMaxMessageBytes));
            if (!message_.empty()) fields_[count_++] = copied_field("grpc-message", message_);
        }
        HeaderPairs pairs(trailers);
        while (count_ < kMaxFields) {
            const auto pair = pairs.next();
            if (!pair) break;
            fields_[count_++] = copied_field(pair->name, pair->value);
        }
    }
    const http2::Field* data() const noexcept { return fields_; }
    std::size_t count() const noexcept { return count_; }

private:
    static constexpr std::size_t kMaxMessageBytes = 4096;  // clients take about 8 KiB of trailers
    static constexpr std::size_t kMaxFields = 64;
    http2::Field fields_[kMaxFields];
    std::size_t count_ = 0;
    char number_[12];
    std::string message_;
};

}  // namespace

// Puts the message behind what is to be sent; compressed, where that was asked for and pays.
void GrpcConnection::append_message(GrpcStream& stream, std::string_view message) {
    auto encoding = stream.answer_encoding;
    if (!stream.responded) encoding = stream.answer_encoding = wanted_encoding(stream);
    nb::object compressed;
    if (encoding != GrpcEncoding::identity && !message.empty()) {
        compressed = config_.deflate(nb::bytes(message.data(), message.size()),
                                     static_cast<unsigned>(encoding));
        const auto size = static_cast<std::size_t>(PyBytes_GET_SIZE(compressed.ptr()));
        if (size >= message.size()) {
            compressed.reset();
        } else {
            message = {PyBytes_AS_STRING(compressed.ptr()), size};
        }
    }
    auto* place = stream.out.grow(kGrpcPrefixBytes + message.size());
    put_prefix(place, message.size(), compressed.is_valid());
    if (!message.empty()) std::memcpy(place + kGrpcPrefixBytes, message.data(), message.size());
    stream.out.commit(kGrpcPrefixBytes + message.size());
    add_unsent(stream, kGrpcPrefixBytes + message.size());
}

GrpcEncoding GrpcConnection::wanted_encoding(const GrpcStream& stream) const noexcept {
    for (const auto encoding : config_.compression) {
        if (encoding != GrpcEncoding::identity &&
            (stream.accepted & 1u << static_cast<unsigned>(encoding)) != 0) {
            return encoding;
        }
    }
    return GrpcEncoding::identity;
}

// Sends the head, or tells the library that there is more behind it.
void GrpcConnection::start_answer(GrpcStream& stream) {
    if (stream.responded) {
        if (stream.deferred) {
            stream.deferred = false;
            http2().session_resume_data(session_, stream.id);
        }
        return;
    }
    stream.responded = true;
    http2::Field fields[4] = {kOk, kContentType, kAcceptEncoding};
    std::size_t count = 3;
    if (stream.answer_encoding != GrpcEncoding::identity) {
        fields[count++] = copied_field("grpc-encoding", encoding_name(stream.answer_encoding));
    }
    const http2::DataProvider provider{.source = {.pointer = &stream}, .read = bind::read_body};
    http2().submit_response(session_, stream.id, fields, count, &provider);
}

void GrpcConnection::begin_counting(GrpcStream& stream) noexcept {
    stream.counted = true;
    dispatcher_.traffic().call_began(stream.method->place);
}

void GrpcConnection::end_counting(GrpcStream& stream, std::uint32_t status) noexcept {
    if (!stream.counted) return;
    stream.counted = false;
    const auto at_ns = answer_ns_ != 0 ? answer_ns_ : now_ns();
    const auto taken_ns = at_ns > stream.begun_ns ? at_ns - stream.begun_ns : 0;
    dispatcher_.traffic().answered(stream.method->place, stream.method->kind, status, taken_ns);
}

// What stands in `out` is the last of the answer.
void GrpcConnection::end_answer(GrpcStream& stream, std::uint32_t status,
                                std::string_view message) {
    if (stream.ended) return;
    stream.ended = true;
    end_counting(stream, status);
    stream.on_client_gone.reset();
    stream.on_writable.reset();
    touch(stream);
    if (stream.responded || !stream.out.empty()) {
        stream.status = status;
        stream.status_message = message;
        return start_answer(stream);
    }
    const StatusFields status_fields(status, message, stream.trailers);
    std::vector<http2::Field> fields{kOk, kContentType};
    fields.insert(fields.end(), status_fields.data(), status_fields.data() + status_fields.count());
    stream.responded = true;
    http2().submit_response(session_, stream.id, fields.data(), fields.size(), nullptr);
}

void GrpcConnection::refuse_http(GrpcStream& stream, std::string_view status) {
    stream.ended = true;
    stream.responded = true;
    touch(stream);
    const http2::Field field = copied_field(":status", status);
    http2().submit_response(session_, stream.id, &field, 1, nullptr);
}

// The library asks for the next bytes of an answer.
ssize_t GrpcConnection::read_body(GrpcStream& stream, std::uint8_t* place, std::size_t bytes,
                                  std::uint32_t& flags) {
    std::size_t taken = 0;
    if (stream.segments.empty()) {
        taken = std::min(bytes, stream.out.size() - stream.out_at);
        if (taken != 0) std::memcpy(place, stream.out.data() + stream.out_at, taken);
        stream.out_at += taken;
    } else {
        taken = next_piece(stream, bytes);
        flags |= http2::kDataNoCopy;
    }
    stream.unsent_bytes -= taken;
    stream.sent_bytes += taken;
    unsent_bytes_ -= taken;
    resume_parked();
    if (stream.unsent_bytes != 0) return static_cast<ssize_t>(taken);
    if (stream.segments.empty()) {
        stream.out.clear();
        stream.out_at = 0;
    }
    if (stream.ended) {
        flags |= http2::kDataEof | http2::kDataNoEndStream;
        const StatusFields fields(stream.status, stream.status_message, stream.trailers);
        http2().submit_trailer(session_, stream.id, fields.data(), fields.count());
    } else if (taken == 0) {
        stream.deferred = true;
        return http2::kErrorDeferred;
    } else {
        touch(stream);  // there is room for more of what the client asks
    }
    return static_cast<ssize_t>(taken);
}

// Chooses what the next frame carries; `send_piece` writes it.
std::size_t GrpcConnection::next_piece(GrpcStream& stream, std::size_t bytes) noexcept {
    const auto& segment = stream.segments[stream.segment_index];
    const auto taken = std::min<std::uint64_t>(bytes, segment.bytes - stream.segment_at);
    stream.sending = {segment.borrowed == nullptr ? nullptr : segment.borrowed + stream.segment_at,
                      segment.offset + stream.segment_at, taken};
    stream.segment_at += taken;
    if (stream.segment_at == segment.bytes && stream.segment_index + 1 < stream.segments.size()) {
        ++stream.segment_index;
        stream.segment_at = 0;
    }
    return taken;
}

// A frame of an answer with large outputs: they go from the worker's block to the socket.
int GrpcConnection::send_piece(GrpcStream& stream, const std::uint8_t* frame_head,
                               std::size_t bytes) {
    constexpr std::size_t kFrameHeadBytes = 9;
    const auto& piece = stream.sending;
    out_.append({reinterpret_cast<const char*>(frame_head), kFrameHeadBytes});
    if (piece.borrowed == nullptr) {
        out_.append({stream.out.data() + piece.offset, bytes});
    } else if (bytes < kLendFrom) {
        out_.append({reinterpret_cast<const char*>(piece.borrowed), bytes});
    } else {
        queue_out();
        if (outlet_.is_open()) outlet_.lend(lent_memoryview(stream.borrow, piece.borrowed, bytes));
    }
    sent_piece_ = true;
    return http2::kErrorPause;
}

// Frames of large outputs are as large as the client takes them, so that there are few.
std::size_t GrpcConnection::frame_bytes(std::int32_t id, std::size_t window) noexcept {
    const auto* stream = find(id);
    const bool lends = stream != nullptr && !stream->segments.empty();
    return std::min(window, lends ? kLargeFrameBytes : kFrameBytes);
}

int GrpcConnection::on_frame_sent(const http2::FrameHead& head) {
    if (head.type != http2::kHeaders && head.type != http2::kData) return 0;
    strikes_.forgive();
    pings_without_data_ = 0;
    if (head.type != http2::kHeaders || (head.flags & http2::kFlagEndStream) == 0) return 0;
    // The answer is complete. A client that has not ended its side need not go on.
    if (http2().session_get_stream_remote_close(session_, head.stream_id) == 0) {
        http2().submit_rst_stream(session_, 0, head.stream_id,
                                  static_cast<std::uint32_t>(http2::Code::no_error));
    }
    return 0;
}

// --- answers of the core
// ----------------------------------------------------------------------------

void GrpcConnection::on_answer(std::uint64_t tag, Answer& answer) {
    auto* stream = live(static_cast<std::int32_t>(tag));
    if (stream == nullptr || stream->token == 0) return;
    // Routes of decoupled models are not native, so there is one answer with outputs.
    if (!answer.final) return;
    stream->token = 0;
    mark_dirty();
    auto& infer = *config_.infer;
    stream->trailers.clear();
    infer.append_metadata(answer, stream->trailers);
    if (answer.status != Status::ok) {
        end_answer(*stream, config_.status_codes[static_cast<std::size_t>(answer.status)],
                   answer.error);
    } else if (!infer.plan(answer) || infer.planned().bytes() > config_.max_message_bytes ||
               wanted_encoding(*stream) != GrpcEncoding::identity) {
        put_result(*stream, infer.result_of(answer));
    } else {
        answer_ns_ = answer.at_ns;
        put_answer(*stream, answer);
        end_answer(*stream, 0, {});
        answer_ns_ = 0;
    }
}

// The planned answer; large outputs stay where they are until the socket took them.
void GrpcConnection::put_answer(GrpcStream& stream, Answer& answer) {
    const auto& planned = config_.infer->planned();
    const auto bytes = planned.bytes();
    const bool lends = planned.has_output_of(kLendOutputsFrom);
    put_prefix(stream.out.grow(kGrpcPrefixBytes + (lends ? 0 : bytes)), bytes, false);
    stream.out.commit(kGrpcPrefixBytes);
    add_unsent(stream, kGrpcPrefixBytes + bytes);
    if (!lends) {
        planned.write(stream.out.data() + stream.out.size());
        stream.out.commit(bytes);
        return;
    }
    planned.write_lending(stream.out, stream.segments, kLendOutputsFrom);
    stream.segments.front().offset -= kGrpcPrefixBytes;
    stream.segments.front().bytes += kGrpcPrefixBytes;
    stream.borrow = std::make_shared<SharedBorrow>(std::move(*answer.block));
    *answer.block = {};
}

// --- answers of Python
// ------------------------------------------------------------------------------

bool GrpcConnection::put_message(GrpcStream& stream, std::string_view message) {
    if (message.size() > config_.max_message_bytes) {
        stream.trailers.clear();  // they are an answer's, and this is none
        refuse(stream, GrpcStatus::resource_exhausted,
               "Sent message larger than max (" + std::to_string(message.size()) + " vs. " +
                   std::to_string(config_.max_message_bytes) + ")");
        return false;
    }
    append_message(stream, message);
    return true;
}

// An encoded message, or a status that is not OK.
void GrpcConnection::put_result(GrpcStream& stream, nb::handle result) {
    if (!PyBytes_Check(result.ptr())) return refuse_with(stream, result);
    const std::string_view message{PyBytes_AS_STRING(result.ptr()),
                                   static_cast<std::size_t>(PyBytes_GET_SIZE(result.ptr()))};
    if (put_message(stream, message)) end_answer(stream, 0, {});
}

void GrpcConnection::refuse_with(GrpcStream& stream, nb::handle failure) {
    const nb::object text = failure.attr("message");
    const nb::object code = failure.attr("code");
    const auto message =
        nb::steal<nb::bytes>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "replace"));
    const auto status = PyLong_AsUnsignedLong(code.ptr());  // an IntEnum
    if (!message.is_valid() || PyErr_Occurred() != nullptr) throw nb::python_error();
    stream.trailers.clear();  // they are an answer's, and this is none
    end_answer(stream, static_cast<std::uint32_t>(status), {message.c_str(), message.size()});
}

void GrpcConnection::read_on(std::int32_t id) {
    auto* stream = live(id);
    if (stream == nullptr) return;
    touch(*stream);
    mark_dirty();
}

void GrpcConnection::set_trailers(std::int32_t id, std::string_view pairs) {
    if (auto* stream = live(id); stream != nullptr) stream->trailers = pairs;
}

void GrpcConnection::finish(std::int32_t id, nb::handle result) {
    auto* stream = live(id);
    if (stream == nullptr) return;
    put_result(*stream, result);
    mark_dirty();
}

void GrpcConnection::send(std::int32_t id, nb::handle message) {
    auto* stream = live(id);
    if (stream == nullptr) return;
    const auto bytes = nb::cast<nb::bytes>(message);
    if (stream->counted) dispatcher_.traffic().message_sent(stream->method->place);
    if (put_message(*stream, {bytes.c_str(), bytes.size()})) start_answer(*stream);
    mark_dirty();
}

void GrpcConnection::end(std::int32_t id, nb::handle failure) {
    auto* stream = live(id);
    if (stream == nullptr) return;
    if (failure.is_none()) {
        if (!stream->responded) start_answer(*stream);
        end_answer(*stream, 0, {});
    } else {
        refuse_with(*stream, failure);
    }
    mark_dirty();
}

// --- the client's pace
// ------------------------------------------------------------------------------

bool GrpcConnection::is_writable(std::int32_t id) noexcept {
    const auto* stream = live(id);
    return stream == nullptr || stream->unsent_bytes <= kMaxUnsentOfStream;
}

// `read_body` touches a stream of which everything was taken.
void GrpcConnection::set_on_writable(std::int32_t id, nb::object callback) {
    auto* stream = live(id);
    if (stream != nullptr) stream->on_writable = std::move(callback);
}

void GrpcConnection::set_on_client_gone(std::int32_t id, nb::object callback) {
    auto* stream = live(id);
    if (stream != nullptr) stream->on_client_gone = std::move(callback);
}

}  // namespace mpserve::bind
