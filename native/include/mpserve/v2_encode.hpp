// Response message → HTTP response: head, JSON and binary tensors, in one pass.
//
// Guarantees: JSON of exactly the peer's key order and forms; all tensors are within the message
// (an
//   opened MessageView). Binary tensors of `kCopyBelow` bytes or more are not copied: the caller
//   gets them as segments. Whatever is not `encoded` leaves the buffer as it was.
// Assumes: the response block lives until its segments are written.
// Owner: the caller owns the buffer and the segment list and reuses both.
// Source: triton.md 3.7 and 3.8; mlserver-observed.md "Inference".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "mpserve/byte_buffer.hpp"
#include "mpserve/message.hpp"

namespace mpserve {

enum class ResponseStyle : std::uint8_t { triton, mlserver };

enum class EncodeOutcome : std::uint8_t {
    encoded,
    half_float,  // a BF16 output (triton: or FP16) was asked for as JSON
    not_utf8,    // an element of a BYTES output that was asked for as JSON is not UTF-8
    malformed,   // the bytes of a BYTES output do not match its shape
};

struct EncodeContext {
    ResponseStyle style = ResponseStyle::triton;
    std::string_view model_name;
    std::string_view model_version;  // mlserver: empty leaves the member out
    std::string_view id;             // empty: left out; mlserver: the caller makes one up then
    bool has_id = false;
    bool keep_alive = true;
    std::uint8_t minor_version = 1;  // of the request: 1.0 is told `Connection: keep-alive`
    // Further fields of the head, each "\r\nName: value"; the caller answers for their form.
    std::string_view fields;
    // Whether outputs are binary when there is no `request`.
    bool binary_by_default = false;
    // Tells for each output whether it is binary: a listed one by its `binary_data`, which is false
    // when not given; others by `binary_data_output`. May be nullptr.
    const MessageView* request = nullptr;
};

// A run of the response, in order. In the buffer (which may move) or in the response block.
struct ResponseSegment {
    const std::byte* borrowed;  // nullptr: at `offset` of the buffer
    std::uint64_t offset;
    std::uint64_t bytes;
};

struct EncodeResult {
    EncodeOutcome outcome;
    std::uint32_t output_index;  // not encoded: which output
};

// Binary outputs below this are copied behind the JSON: one write of a few KiB costs less than two.
inline constexpr std::uint64_t kCopyBelow = 16 * 1024;

// Appends to `out` and to `segments`. All outputs of `response` are written, in their order:
// leaving out what was not requested is the worker's part. Without a borrowed segment there is
// exactly one, the whole response.
EncodeResult encode_infer_response(const MessageView& response, const EncodeContext& context,
                                   ByteBuffer& out, std::vector<ResponseSegment>& segments);

// Only the JSON object, without an HTTP head and without binary outputs (stream messages, tests).
EncodeResult encode_infer_json(const MessageView& response, const EncodeContext& context,
                               ByteBuffer& out);

}  // namespace mpserve
