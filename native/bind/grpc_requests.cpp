// What a gRPC connection does about the calls it has received: whom each is handed to.
#include <algorithm>

#include <nanobind/stl/string.h>

#include "grpc_call.hpp"
#include "grpc_connection.hpp"
#include "mpserve/wake.hpp"
#include "proto_infer.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kMaxHeadBytes = 64 * 1024;
// Answers that wait for the client: of a stream, and of a connection. With more, what it asks
// waits.
constexpr std::size_t kMaxUnsentBytes = 1 << 20;
constexpr std::uint64_t kMaxUnsentOfAll = 64 << 20;

std::string_view text_of(const nb::bytes& bytes) noexcept { return {bytes.c_str(), bytes.size()}; }

nb::bytes bytes_of(std::string_view text) { return nb::bytes(text.data(), text.size()); }

CallFacts call_for(const GrpcStream& stream) noexcept {
    return {.has_context = stream.has_trace_context, .pairs = stream.metadata.view()};
}

}  // namespace

void GrpcConnection::advance_touched() {
    while (!touched_.empty()) {
        looking_at_.clear();
        looking_at_.swap(touched_);
        for (auto* stream : looking_at_) {
            stream->touched = false;
            advance(*stream);
        }
        if (session_ == nullptr) return;
    }
}

void GrpcConnection::advance(GrpcStream& stream) {
    if (stream.gone) {
        take_back(stream);
        recycle(stream);
        return;
    }
    if (!stream.head_complete) return;
    if (!stream.opened && !stream.ended) open(stream);
    if (!stream.ended) tell_writable(stream);
    if (!stream.ended) hand_on_messages(stream);
    if (!stream.ended && stream.half_closed && !stream.has_waiting()) tell_half_close(stream);
    if (stream.ended) {
        drop_messages(stream);
    } else {
        keep_messages(stream);
    }
    if (!stream.has_waiting()) give_window_back(stream);
}

void GrpcConnection::open(GrpcStream& stream) {
    stream.opened = true;
    if (!stream.is_post) return refuse_http(stream, "405");
    if (!stream.is_grpc) return refuse_http(stream, "415");
    if (stream.head_too_large) {
        return refuse(stream, GrpcStatus::resource_exhausted,
                      "received metadata size exceeds hard limit (" +
                          std::to_string(stream.head_bytes) + " vs. " +
                          std::to_string(kMaxHeadBytes) + ")");
    }
    if (stream.has_bad_timeout) {
        return refuse(stream, GrpcStatus::internal, "malformed grpc-timeout");
    }
    if (stream.method == nullptr) {
        return refuse(stream, GrpcStatus::unimplemented, config_.not_found);
    }
    if (stream.encoding == GrpcEncoding::unknown) {
        return refuse(stream, GrpcStatus::unimplemented,
                      "the message encoding is not supported; send identity, deflate or gzip");
    }
    if (stream.method->guarded && is_refused(stream)) return;
    if (stream.deadline_ns != 0 && stream.deadline_ns <= last_read_ns_) {
        return refuse(stream, GrpcStatus::deadline_exceeded, kDeadlineMessage);
    }
    if (dispatcher_.traffic().is_on()) begin_counting(stream);
    config_.want_look(stream.deadline_ns);
    if (stream.method->streams && config_.draining) return send_elsewhere(stream);
    if (stream.method->streams) open_stream(stream);
}

// The end was announced when this stream was on its way. Nothing of it was done, and the client is
// told so: it calls again over another connection without anybody's noticing (RFC 9113, 8.7). A
// unary call on its way is answered here instead.
void GrpcConnection::send_elsewhere(GrpcStream& stream) {
    stream.ended = true;
    http2().submit_rst_stream(session_, 0, stream.id,
                              static_cast<std::uint32_t>(http2::Code::refused_stream));
}

template <typename Function>
void GrpcConnection::call_python(GrpcStream& stream, Function function) {
    const auto id = stream.id;
    const auto* method = stream.method;
    try {
        function();
    } catch (nb::python_error& error) {
        on_python_error(id, method != nullptr ? method->path : std::string(), error);
    }
}

bool GrpcConnection::is_refused(GrpcStream& stream) {
    call_python(stream, [&] {
        const auto failure = config_.refusal(stream.method->path, metadata_of(stream));
        if (!failure.is_none()) refuse_with(stream, failure);
    });
    return stream.ended;
}

void GrpcConnection::open_stream(GrpcStream& stream) {
    ++config_.calls_python;
    call_python(stream, [&] {
        stream.input = stream.method->handler(call_of(stream), metadata_of(stream));
    });
}

void GrpcConnection::hand_on_messages(GrpcStream& stream) {
    if (stream.method->streams) {
        while (!stream.ended && stream.has_waiting() && takes_message(stream)) {
            auto message = std::move(stream.waiting[stream.next_waiting++]);
            hand_on(stream, message);
        }
    } else if (stream.half_closed && stream.has_waiting() && stream.token == 0) {
        if (stream.waiting.size() > 1) {
            return refuse(stream, GrpcStatus::unimplemented,
                          "a unary call has one message, more were sent");
        }
        if (!takes_calls()) {
            parked_.push_back(stream.id);
            return;
        }
        auto message = std::exchange(stream.waiting[stream.next_waiting++], {});
        hand_on(stream, message);
        if (message.block) dispatcher_.arena().release(message.block.ref);
    }
    if (!stream.has_waiting()) drop_messages(stream);
    if (!stream.ended && !stream.has_waiting() && stream.fault != GrpcFrameEvent::need_input) {
        refuse_fault(stream);
    }
}

void GrpcConnection::tell_writable(GrpcStream& stream) {
    if (!stream.on_writable.is_valid() || !is_writable(stream.id)) return;
    const auto callback = std::exchange(stream.on_writable, {});
    call_python(stream, [&] { callback(); });
}

void GrpcConnection::refuse_fault(GrpcStream& stream) {
    if (stream.fault == GrpcFrameEvent::too_large) {
        refuse(stream, GrpcStatus::resource_exhausted,
               "Received message larger than max (" + std::to_string(stream.fault_bytes) + " vs. " +
                   std::to_string(config_.max_message_bytes) + ")");
    } else {
        refuse(stream, GrpcStatus::internal,
               "a message begins with a byte that is neither 0 nor 1");
    }
}

bool GrpcConnection::takes_message(GrpcStream& stream) {
    if (stream.unsent_bytes > kMaxUnsentBytes) return false;
    if (!stream.input.is_valid()) return false;
    bool takes = false;
    call_python(stream, [&] { takes = nb::cast<bool>(stream.input.attr("has_room")()); });
    return takes;
}

bool GrpcConnection::takes_calls() const noexcept { return unsent_bytes_ <= kMaxUnsentOfAll; }

void GrpcConnection::resume_parked() {
    if (parked_.empty() || !takes_calls()) return;
    for (const auto id : std::exchange(parked_, {})) {
        if (auto* stream = live(id); stream != nullptr) touch(*stream);
    }
}

void GrpcConnection::hand_on(GrpcStream& stream, GrpcMessage& message) {
    stream.handed_on = true;
    if (stream.counted && stream.method->streams) {
        dispatcher_.traffic().message_received(stream.method->place);
    }
    nb::object whole;
    auto bytes = message.bytes;
    if (message.compressed) {
        if (stream.encoding == GrpcEncoding::identity) {
            return refuse(stream, GrpcStatus::internal,
                          "a message is compressed, but the call names no grpc-encoding");
        }
        call_python(stream, [&] {
            whole = config_.inflate(bytes_of(bytes), static_cast<unsigned>(stream.encoding));
        });
        if (!whole.is_valid()) return;
        if (!PyBytes_Check(whole.ptr())) {
            if (stream.input.is_valid()) take_back(stream);
            return refuse_with(stream, whole);
        }
        bytes = text_of(nb::borrow<nb::bytes>(whole));
    }
    if (message.block && submit_in_place(stream, message)) return;
    if (!stream.method->streams) return answer_unary(stream, bytes, whole);
    if (!whole.is_valid()) whole = bytes_of(bytes);
    const auto input = stream.input;
    call_python(stream, [&] { input.attr("on_message")(whole); });
}

void GrpcConnection::answer_unary(GrpcStream& stream, std::string_view message,
                                  nb::object as_bytes) {
    const auto& method = *stream.method;
    if (method.has_fixed && message.empty()) {
        ++config_.calls_fixed;
        stream.out.append(method.fixed);
        add_unsent(stream, method.fixed.size());
        return end_answer(stream, 0, {});
    }
    if (method.infers && submit_inference(stream, message)) return;
    ++config_.calls_python;
    if (!as_bytes.is_valid()) as_bytes = bytes_of(message);
    call_python(stream, [&] { method.handler(as_bytes, call_of(stream)); });
}

bool GrpcConnection::submit_inference(GrpcStream& stream, std::string_view message) {
    auto submission = config_.infer->prepare(message, call_for(stream));
    if (submission) submit(stream, std::move(*submission));
    return submission.has_value();
}

bool GrpcConnection::submit_in_place(GrpcStream& stream, GrpcMessage& message) {
    auto submission = config_.infer->prepare_in_place(message.block, message.block_offset,
                                                      message.bytes.size(), call_for(stream));
    if (!submission) return false;
    message.block = {};  // the request's now
    submit(stream, std::move(*submission));
    return true;
}

void GrpcConnection::submit(GrpcStream& stream, Submission submission) {
    ++config_.calls_native;
    submission.deadline_ns = stream.deadline_ns;
    const auto tag = static_cast<std::uint64_t>(stream.id);
    stream.token = dispatcher_.submit(std::move(submission), this, nb::borrow(self_), tag);
}

void GrpcConnection::tell_half_close(GrpcStream& stream) {
    if (stream.told_half_close) return;
    stream.told_half_close = true;
    if (stream.reader.in_message()) {
        take_back(stream);
        if (!stream.ended) {
            refuse(stream, GrpcStatus::internal, "the request ended within a message");
        }
        return;
    }
    if (!stream.method->streams) {
        if (!stream.handed_on) {
            refuse(stream, GrpcStatus::internal, "the request has no message");
        }
        return;
    }
    const auto input = stream.input;
    if (input.is_valid()) call_python(stream, [&] { input.attr("on_half_close")(); });
}

// Messages that stay lie in memory of their own: the read buffer is used again.
void GrpcConnection::keep_messages(GrpcStream& stream) {
    for (auto at = stream.next_waiting; at < stream.waiting.size(); ++at) {
        auto& message = stream.waiting[at];
        if (!message.owned.empty() || message.block || message.bytes.empty()) continue;
        message.owned.append(message.bytes);
        message.bytes = message.owned.view();
    }
}

void GrpcConnection::drop_messages(GrpcStream& stream) {
    for (auto& message : stream.waiting) {
        if (message.block) dispatcher_.arena().release(std::exchange(message.block, {}).ref);
    }
    stream.waiting.clear();
    stream.next_waiting = 0;
}

// Nobody wants the answer any more. Python may call in from here.
void GrpcConnection::take_back(GrpcStream& stream) {
    if (stream.token != 0) dispatcher_.forget(std::exchange(stream.token, 0));
    const auto input = std::exchange(stream.input, {});
    stream.on_writable.reset();
    const auto callback = std::exchange(stream.on_client_gone, {});
    if (input.is_valid() && !stream.ended) {
        call_python(stream, [&] { input.attr("on_client_gone")(); });
    }
    if (callback.is_valid() && !stream.ended) call_python(stream, [&] { callback(); });
}

void GrpcConnection::recycle(GrpcStream& stream) {
    end_counting(stream, static_cast<std::uint32_t>(GrpcStatus::cancelled));
    give_window_back(stream);
    release_blocks(stream);
    unsent_bytes_ -= stream.unsent_bytes;
    const auto index = stream.index;
    auto owned = std::move(streams_[index]);
    if (index + 1 != streams_.size()) {
        streams_[index] = std::move(streams_.back());
        streams_[index]->index = index;
    }
    streams_.pop_back();
    config_.give_back(std::move(owned));
}

nb::object GrpcConnection::call_of(GrpcStream& stream) {
    return nb::cast(new GrpcCall(nb::borrow(self_), stream.id), nb::rv_policy::take_ownership);
}

nb::dict GrpcConnection::metadata_of(const GrpcStream& stream) const {
    nb::dict pairs;
    auto rest = stream.metadata.view();
    const auto take = [&rest] {
        const auto end = rest.find('\0');
        const auto text = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()),
                                              "surrogateescape"));
    };
    while (!rest.empty()) {
        const auto name = take();
        pairs[name] = take();
    }
    return pairs;
}

std::uint64_t GrpcConnection::begun_ns(std::int32_t id) {
    const auto* stream = find(id);
    return stream == nullptr ? 0 : stream->begun_ns;
}

std::uint64_t GrpcConnection::deadline_ns(std::int32_t id) {
    const auto* stream = find(id);
    return stream == nullptr ? 0 : stream->deadline_ns;
}

nb::dict GrpcConnection::metadata(std::int32_t id) {
    const auto* stream = find(id);
    return stream == nullptr ? nb::dict() : metadata_of(*stream);
}

void GrpcConnection::on_python_error(std::int32_t id, const std::string& path,
                                     nb::python_error& error) {
    const auto failure = config_.on_crash(path, error.value());
    auto* stream = live(id);
    if (stream != nullptr) refuse_with(*stream, failure);
}

}  // namespace mpserve::bind
