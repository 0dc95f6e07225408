// What a gRPC connection receives: the heads and messages of its streams.
#include "grpc_connection.hpp"
#include "mpserve/header_pairs.hpp"
#include "proto_infer.hpp"

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kMaxHeadBytes = 64 * 1024;
constexpr std::uint32_t kMaxHeadBytesHard = 1024 * 1024;  // past it the connection ends
// From here on a message is received into the arena; a smaller one is copied into it.
constexpr std::uint32_t kReceiveInPlace = 64 * 1024;
constexpr std::uint32_t kMaxBytesBeforeTensors = 4096;
constexpr std::uint64_t kMaxEventBytes = 1024;  // of what models see with the headers
constexpr std::uint32_t kFieldOverhead = 32;    // as HTTP/2 counts

bool is_for_services(std::string_view name) noexcept {
    return name.front() != ':' && !name.starts_with("grpc-") && name != "te" &&
           name != "content-type";
}

bool is_trace_context(std::string_view name) noexcept {
    return name == "traceparent" || name == "tracestate";
}

}  // namespace

GrpcStream* GrpcConnection::find(std::int32_t id) noexcept {
    if (session_ == nullptr) return nullptr;
    return static_cast<GrpcStream*>(http2().session_get_stream_user_data(session_, id));
}

GrpcStream* GrpcConnection::live(std::int32_t id) noexcept {
    auto* stream = find(id);
    return stream == nullptr || stream->ended || stream->gone ? nullptr : stream;
}

void GrpcConnection::touch(GrpcStream& stream) {
    if (stream.touched) return;
    stream.touched = true;
    touched_.push_back(&stream);
}

int GrpcConnection::on_begin_headers(const http2::FrameHead& head) {
    if (head.type != http2::kHeaders) return 0;
    if (auto* known = find(head.stream_id); known != nullptr) {
        known->in_trailers = true;
        return 0;
    }
    ++calls_;
    auto stream = config_.take_stream();
    stream->id = head.stream_id;
    stream->index = streams_.size();
    stream->begun_ns = last_read_ns_;
    stream->reader.reset(config_.max_message_bytes);
    if (http2().session_set_stream_user_data(session_, head.stream_id, stream.get()) != 0) return 0;
    streams_.push_back(std::move(stream));
    return 0;
}

int GrpcConnection::on_field(const http2::FrameHead& head, std::string_view name,
                             std::string_view value) {
    auto* stream = find(head.stream_id);
    if (stream == nullptr) return 0;
    stream->head_bytes += static_cast<std::uint32_t>(name.size() + value.size()) + kFieldOverhead;
    if (stream->head_bytes > kMaxHeadBytesHard) {
        fault_ = http2::Code::enhance_your_calm;
        return http2::kErrorCallback;
    }
    stream->head_too_large = stream->head_bytes > kMaxHeadBytes;
    if (!stream->in_trailers && !stream->head_too_large) take_field(*stream, name, value);
    return 0;
}

void GrpcConnection::take_field(GrpcStream& stream, std::string_view name, std::string_view value) {
    switch (name.size()) {
        case 5:
            if (name == ":path") {
                const auto found = config_.methods.find(value);
                if (found != config_.methods.end()) stream.method = found->second.get();
            }
            break;
        case 7:
            if (name == ":method") stream.is_post = value == "POST";
            break;
        case 11:
            if (name == "traceparent") stream.has_trace_context = true;
            break;
        case 12:
            if (name == "content-type") stream.is_grpc = is_grpc_content_type(value);
            if (name == "grpc-timeout") {
                const auto timeout = grpc_timeout_ns(value);
                stream.has_bad_timeout = !timeout;
                if (timeout) stream.deadline_ns = last_read_ns_ + *timeout;
            }
            break;
        case 13:
            if (name == "grpc-encoding") stream.encoding = grpc_encoding(value);
            break;
        case 20:
            if (name == "grpc-accept-encoding") stream.accepted = grpc_encodings(value);
            break;
        default: break;
    }
    // The path is among the first fields, so the method is known here.
    if (stream.method != nullptr && is_for_services(name) &&
        (stream.method->wants_metadata || dispatcher_.takes_headers() || is_trace_context(name))) {
        stream.metadata.append(name);
        stream.metadata.push_back('\0');
        if (name.ends_with(kBinaryName)) stream.metadata.push_back(kBinaryValue);
        stream.metadata.append(value);
        stream.metadata.push_back('\0');
    }
}

int GrpcConnection::on_data(std::int32_t id, std::string_view data) {
    auto* stream = find(id);
    if (stream == nullptr || stream->ended || stream->fault != GrpcFrameEvent::need_input) {
        http2().session_consume(session_, id, data.size());
        return 0;
    }
    stream->owed_bytes += data.size();
    stream->received_bytes += data.size();
    for (bool more = true; more;) {
        const auto step = stream->reader.next(data);
        switch (step.event) {
            case GrpcFrameEvent::need_input: more = false; break;
            case GrpcFrameEvent::body_starts: start_block(*stream, step); break;
            case GrpcFrameEvent::message: {
                auto& message = stream->waiting.emplace_back();
                message.compressed = step.compressed;
                message.bytes = step.body;
                if (stream->reader.was_gathered()) message.owned = stream->reader.take_gathered();
                message.block = std::exchange(stream->block, {});
                message.block_offset = stream->block_offset;
                break;
            }
            case GrpcFrameEvent::too_large:
            case GrpcFrameEvent::bad_flag:
                stream->fault = step.event;
                stream->fault_bytes = step.bytes;
                more = false;
                break;
        }
    }
    if (!stream->has_waiting()) give_window_back(*stream);
    touch(*stream);
    return 0;
}

// A large message of which the tensors' place can be seen is received into the arena, its first
// tensor aligned.
void GrpcConnection::start_block(GrpcStream& stream, const GrpcFrameStep& step) {
    if (step.bytes < kReceiveInPlace || step.compressed || stream.method == nullptr ||
        !stream.method->infers) {
        return;
    }
    const auto before = ProtoInferDecoder::bytes_before_tensors(step.body);
    if (!before || *before > kMaxBytesBeforeTensors) return;
    auto bound = ProtoInferDecoder::in_place_bound(*before);
    if (dispatcher_.takes_headers()) bound += stream.metadata.size() + kMaxEventBytes;
    stream.block_offset =
        (bound + *before + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment - *before;
    stream.block = dispatcher_.arena().allocate(stream.block_offset + step.bytes);
    if (stream.block) stream.reader.gather_into(stream.block.data + stream.block_offset);
}

void GrpcConnection::release_blocks(GrpcStream& stream) noexcept {
    const auto release = [this](Block& block) {
        if (block) dispatcher_.arena().release(std::exchange(block, {}).ref);
    };
    release(stream.block);
    for (auto& message : stream.waiting) release(message.block);
}

int GrpcConnection::on_stream_close(std::int32_t id) {
    auto* stream = find(id);
    if (stream == nullptr) return 0;
    stream->gone = true;
    if (stream->ended) budget_.earn();
    touch(*stream);
    return 0;
}

void GrpcConnection::give_window_back(GrpcStream& stream) {
    if (stream.owed_bytes == 0 || session_ == nullptr) return;
    http2().session_consume(session_, stream.id, std::exchange(stream.owed_bytes, 0));
}

}  // namespace mpserve::bind
