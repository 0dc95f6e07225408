// Request line and header fields of an HTTP/1.x request: bytes in, fields out. No sockets.
//
// Guarantees: strict RFC 9112 framing, so that no proxy in front can see another message border
// than
//   we do: lines end in CRLF, no folding, no blank before the colon, either Content-Length or
//   `Transfer-Encoding: chunked`, one Host. Each byte is looked at once however it arrives: a head
//   that is not complete is resumed at its last line. No allocation up to `kInlineFields` fields.
// Assumes: between two calls for one head the buffer keeps its bytes (it may move and grow).
// Owner: the connection; one `HttpHead` per connection, `reset` between requests.
// Source: RFC 9110 sections 5, 7.1, 10.1.1; RFC 9112 sections 2, 3, 5, 6.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mpserve {

struct HeadLimits {
    std::uint32_t max_head_bytes = 64 * 1024;  // request line and fields; past it: 414 or 431
    std::uint32_t max_fields = 128;            // 431
};

enum class HttpMethod : std::uint8_t { get, post, put, head, delete_, options, patch, other };

enum class HeadStatus : std::uint8_t { incomplete, complete, bad };

struct HeadResult {
    HeadStatus status;
    std::uint16_t http_status;  // bad: what to answer before closing
    std::uint32_t head_bytes;   // complete: first byte of the body
    std::string_view reason;    // bad: static text
};

// One field line; offsets are relative to the buffer that was parsed.
struct HeaderField {
    std::uint32_t name_offset;
    std::uint32_t name_bytes;
    std::uint32_t value_offset;
    std::uint32_t value_bytes;
};

enum class HeaderLength : std::uint8_t { absent, valid, invalid };

// A head that is being parsed, then the parsed head. The texts are views of the buffer given to the
// call that completed it.
class HttpHead {
public:
    static constexpr std::size_t kInlineFields = 32;

    HttpMethod method = HttpMethod::other;
    std::uint8_t minor_version = 1;
    bool keep_alive = true;
    bool chunked = false;
    bool has_content_length = false;
    bool expect_continue = false;
    // A field that means one value came more than once; the first value is given. Such a request
    // is not one for the fast path.
    bool repeated_singleton = false;
    bool has_trace_context = false;  // of W3C: a traceparent
    HeaderLength header_length_state = HeaderLength::absent;
    std::uint64_t content_length = 0;
    std::uint64_t header_length = 0;  // Inference-Header-Content-Length, when valid

    std::string_view method_text;
    std::string_view target;        // origin form: path and query; "*" for OPTIONS *
    std::string_view path;          // `target` without the query
    std::string_view raw_target;    // as sent (absolute form)
    std::string_view content_type;  // empty: absent (as the five below)
    std::string_view content_encoding;
    std::string_view accept_encoding;
    std::string_view header_length_text;  // Inference-Header-Content-Length as sent

    std::size_t field_count() const noexcept { return field_count_; }
    std::string_view field_name(std::size_t index) const noexcept {
        const auto& field = field_at(index);
        return {base_ + field.name_offset, field.name_bytes};
    }
    std::string_view field_value(std::size_t index) const noexcept {
        const auto& field = field_at(index);
        return {base_ + field.value_offset, field.value_bytes};
    }
    // First value of the field with this lower-case name; nothing found: nullptr data.
    std::string_view find(std::string_view lower_case_name) const noexcept;

    // Forgets everything; call before the next request of the connection.
    void reset() noexcept;

private:
    friend class HeadParser;

    const HeaderField& field_at(std::size_t index) const noexcept {
        return index < kInlineFields ? inline_fields_[index] : more_fields_[index - kInlineFields];
    }

    const char* base_ = nullptr;
    std::uint32_t line_start_ = 0;  // first byte of the line that is not complete yet
    std::uint32_t scanned_ = 0;     // no LF before this
    std::uint32_t field_count_ = 0;
    std::uint32_t empty_lines_ = 0;
    bool has_request_line_ = false;
    bool has_host_ = false;
    bool has_connection_close_ = false;
    bool has_connection_keep_alive_ = false;
    // Kept as offsets until the head is complete, because the buffer may move.
    HeaderField request_line_{};  // name: method, value: target
    std::int32_t content_type_at_ = -1;
    std::int32_t content_encoding_at_ = -1;
    std::int32_t accept_encoding_at_ = -1;
    std::int32_t header_length_at_ = -1;
    std::array<HeaderField, kInlineFields> inline_fields_;
    std::vector<HeaderField> more_fields_;
};

// Goes on with `head` in `buffer`, whose first byte is the first of the request. Call it again with
// more bytes while it says `incomplete`; after `bad` answer and close.
HeadResult parse_head(std::string_view buffer, HttpHead& head, const HeadLimits& limits);

}  // namespace mpserve
