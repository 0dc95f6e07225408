// Decoder of a chunked HTTP/1.1 body: bytes in, runs of body bytes out. No sockets, no copies.
//
// Guarantees: sizes are overflow-checked hexadecimal followed by CRLF at once (chunk extensions and
//   blanks are refused: nobody needs them and smugglers use them); the body, the chunks and the
//   trailer section are bounded; what follows the body is not touched.
// Assumes: bytes are given in order, each once (what `next` consumed is not given again).
// Owner: the connection; `reset` for each chunked body.
// Source: RFC 9112 section 7.1; the limit of chunks and its text: Triton.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mpserve {

struct ChunkLimits {
    std::uint64_t max_body_bytes = UINT64_MAX;
    std::uint32_t max_chunks = 65536;  // non-empty ones
    std::uint32_t max_trailer_bytes = 16 * 1024;
};

enum class ChunkEvent : std::uint8_t {
    need_input,  // all input is consumed, the body goes on
    data,        // `data` is the next run of the body
    complete,    // the last byte of the message is consumed
    bad,         // answer `http_status` with `reason` and close
};

struct ChunkStep {
    ChunkEvent event;
    std::uint16_t http_status;
    std::string_view data;
    std::string_view reason;
};

class ChunkDecoder {
public:
    void reset(const ChunkLimits& limits) noexcept;

    // Consumes from the front of `input` up to the next event. Call until it says other than
    // `data`.
    ChunkStep next(std::string_view& input) noexcept;

    std::uint64_t body_bytes() const noexcept { return body_bytes_; }

private:
    enum class State : std::uint8_t {
        size,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer_start,
        trailer_line,
        trailer_lf,
        final_lf,
        complete,
        failed
    };

    ChunkStep fail(std::uint16_t http_status, std::string_view reason) noexcept;
    ChunkStep begin_chunk() noexcept;
    ChunkStep take_trailer_byte(char byte) noexcept;

    ChunkLimits limits_;
    std::uint64_t chunk_left_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::uint32_t chunks_ = 0;
    std::uint32_t trailer_bytes_ = 0;
    std::uint32_t digits_ = 0;
    bool trailer_has_colon_ = false;
    State state_ = State::size;
    std::uint16_t http_status_ = 0;
    std::string_view reason_;
};

}  // namespace mpserve
