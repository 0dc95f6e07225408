// The messages of a gRPC stream: one byte that says whether it is compressed, four bytes of length,
// big-endian, then the message.
//
// Guarantees: a message that lies whole in one piece of input is handed out without a copy; others
//   are gathered, in memory that grows with what has come, or in a place that the caller gives. A
//   message is handed out once, however the input is cut into pieces.
// Assumes: one reader a stream; what `next` hands out is used before the next call.
// Owner: the stream.
// Source: "gRPC over HTTP2", Length-Prefixed-Message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "mpserve/byte_buffer.hpp"

namespace mpserve {

inline constexpr std::size_t kGrpcPrefixBytes = 5;

enum class GrpcFrameEvent : std::uint8_t {
    need_input,   // all input is used
    body_starts,  // a message whose rest has not come; `body` is what has. `gather_into` may follow
    message,      // `body` is a whole message
    too_large,    // past the limit; nothing more can be read
    bad_flag      // the first byte is neither 0 nor 1; nothing more can be read
};

struct GrpcFrameStep {
    GrpcFrameEvent event = GrpcFrameEvent::need_input;
    bool compressed = false;
    std::uint32_t bytes = 0;  // of the message, as its prefix says
    std::string_view body;
};

class GrpcMessageReader {
public:
    void reset(std::uint64_t max_message_bytes) noexcept;

    // Takes from the front of `input`. Call it until it says `need_input`.
    GrpcFrameStep next(std::string_view& input);

    // After `body_starts`: the message is written here, `bytes` of it, instead of being gathered in
    // own memory. The place must hold until the message was handed out or the reader is reset.
    void gather_into(std::byte* place) noexcept { place_ = place; }
    // The whole message that was handed out last lies in own memory; takes that memory over.
    bool was_gathered() const noexcept { return gathered_; }
    ByteBuffer take_gathered() noexcept;

    // Whether a message has begun and not ended: the stream may not end here.
    bool in_message() const noexcept { return prefix_filled_ != 0; }

private:
    bool take_prefix(std::string_view& input) noexcept;
    GrpcFrameStep gather(std::string_view& input);

    std::uint64_t max_message_bytes_ = 0;
    char prefix_[kGrpcPrefixBytes] = {};
    std::uint32_t prefix_filled_ = 0;
    bool gathering_ = false;
    bool gathered_ = false;
    bool failed_ = false;
    std::uint32_t bytes_ = 0;
    std::uint32_t filled_ = 0;
    std::byte* place_ = nullptr;
    ByteBuffer own_;
};

}  // namespace mpserve
