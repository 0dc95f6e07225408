#include "mpserve/http_chunked.hpp"

#include <algorithm>

namespace mpserve {

namespace {

constexpr std::uint32_t kMaxSizeDigits = 16;  // leading zeros included
constexpr std::string_view kTooManyChunks =
    "Chunked request body exceeds maximum of 65536 non-empty chunks. Send fewer or larger HTTP "
    "chunks.";

int hex_value(char byte) noexcept {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

}  // namespace

void ChunkDecoder::reset(const ChunkLimits& limits) noexcept {
    *this = ChunkDecoder();
    limits_ = limits;
}

ChunkStep ChunkDecoder::fail(std::uint16_t http_status, std::string_view reason) noexcept {
    state_ = State::failed;
    http_status_ = http_status;
    reason_ = reason;
    return {ChunkEvent::bad, http_status, {}, reason};
}

// The size line is complete: the last chunk is followed by the trailer section, others by data.
// `need_input` means: go on.
ChunkStep ChunkDecoder::begin_chunk() noexcept {
    digits_ = 0;
    if (chunk_left_ == 0) {
        state_ = State::trailer_start;
        return {ChunkEvent::need_input, 0, {}, {}};
    }
    if (++chunks_ > limits_.max_chunks) return fail(400, kTooManyChunks);
    if (chunk_left_ > limits_.max_body_bytes - body_bytes_) {
        return fail(413, "The request body is too large.");
    }
    body_bytes_ += chunk_left_;
    state_ = State::data;
    return {ChunkEvent::need_input, 0, {}, {}};
}

ChunkStep ChunkDecoder::next(std::string_view& input) noexcept {
    if (state_ == State::failed) return {ChunkEvent::bad, http_status_, {}, reason_};
    if (state_ == State::complete) return {ChunkEvent::complete, 0, {}, {}};
    while (!input.empty()) {
        if (state_ == State::data) {
            const auto bytes = std::min<std::uint64_t>(chunk_left_, input.size());
            const auto run = input.substr(0, bytes);
            input.remove_prefix(bytes);
            chunk_left_ -= bytes;
            if (chunk_left_ == 0) state_ = State::data_cr;
            return {ChunkEvent::data, 0, run, {}};
        }
        const char byte = input.front();
        input.remove_prefix(1);
        switch (state_) {
            case State::size: {
                const int digit = hex_value(byte);
                if (digit < 0) {
                    if (digits_ == 0 || byte != '\r') {
                        return fail(400, "A chunk must start with its size and CRLF.");
                    }
                    state_ = State::size_lf;
                    break;
                }
                if (++digits_ > kMaxSizeDigits) return fail(400, "A chunk's size is too long.");
                chunk_left_ = chunk_left_ << 4 | static_cast<std::uint64_t>(digit);
                break;
            }
            case State::size_lf:
                if (byte != '\n') return fail(400, "A chunk must start with its size and CRLF.");
                if (const auto step = begin_chunk(); step.event == ChunkEvent::bad) return step;
                break;
            case State::data_cr:
                if (byte != '\r') return fail(400, "A chunk is longer than its size.");
                state_ = State::data_lf;
                break;
            case State::data_lf:
                if (byte != '\n') return fail(400, "A chunk must end in CRLF.");
                state_ = State::size;
                break;
            default:
                if (const auto step = take_trailer_byte(byte);
                    step.event != ChunkEvent::need_input) {
                    return step;
                }
                break;
        }
    }
    return {ChunkEvent::need_input, 0, {}, {}};
}

// Trailer fields are checked for their form, counted and dropped.
ChunkStep ChunkDecoder::take_trailer_byte(char byte) noexcept {
    if (++trailer_bytes_ > limits_.max_trailer_bytes) return fail(431, "The trailer is too large.");
    const auto code = static_cast<unsigned char>(byte);
    switch (state_) {
        case State::trailer_start:
            trailer_has_colon_ = false;
            if (byte == '\r') {
                state_ = State::final_lf;
                break;
            }
            if (byte == ':' || code <= ' ' || code >= 0x7f) {
                return fail(400, "A trailer field must be a name, a colon and a value.");
            }
            state_ = State::trailer_line;
            break;
        case State::trailer_line:
            if (byte == '\r' && trailer_has_colon_) {
                state_ = State::trailer_lf;
                break;
            }
            if (byte == ':') trailer_has_colon_ = true;
            if ((code < ' ' && byte != '\t') || code == 0x7f ||
                (code <= ' ' && !trailer_has_colon_)) {
                return fail(400, "A trailer field must be a name, a colon and a value.");
            }
            break;
        case State::trailer_lf:
            if (byte != '\n') return fail(400, "A trailer field must end in CRLF.");
            state_ = State::trailer_start;
            break;
        default:  // final_lf
            if (byte != '\n') return fail(400, "The trailer must end in CRLF.");
            state_ = State::complete;
            return {ChunkEvent::complete, 0, {}, {}};
    }
    return {ChunkEvent::need_input, 0, {}, {}};
}

}  // namespace mpserve
