#include "mpserve/http_head.hpp"

#include <cstring>
#include <utility>

#include "http_text.hpp"

namespace mpserve {

using namespace http_text;

namespace {

constexpr std::uint32_t kMaxEmptyLines = 8;  // RFC 9112 2.2: at least one before a request
constexpr std::size_t kMaxMethodBytes = 32;
constexpr std::string_view kVersionPrefix = "HTTP/";
constexpr std::size_t kVersionBytes = 8;  // HTTP/1.1

constexpr std::pair<std::string_view, HttpMethod> kMethods[] = {
    {"POST", HttpMethod::post},   {"GET", HttpMethod::get},        {"HEAD", HttpMethod::head},
    {"PUT", HttpMethod::put},     {"DELETE", HttpMethod::delete_}, {"OPTIONS", HttpMethod::options},
    {"PATCH", HttpMethod::patch},
};

HttpMethod method_of(std::string_view text) noexcept {
    for (const auto& [name, method] : kMethods) {
        if (text == name) return method;
    }
    return HttpMethod::other;
}

constexpr HeadResult kIncomplete{HeadStatus::incomplete, 0, 0, {}};
constexpr HeadResult kLineTaken = kIncomplete;

HeadResult bad(std::uint16_t http_status, std::string_view reason) noexcept {
    return {HeadStatus::bad, http_status, 0, reason};
}

bool is_bad(const HeadResult& result) noexcept { return result.status == HeadStatus::bad; }

}  // namespace

class HeadParser {
public:
    HeadParser(std::string_view buffer, HttpHead& head, const HeadLimits& limits) noexcept
        : buffer_(buffer), head_(head), limits_(limits) {}

    HeadResult run() {
        if (buffer_.empty()) return kIncomplete;
        while (true) {
            if (!head_.has_request_line_) {
                const auto result = look_at_first_byte();
                if (is_bad(result)) return result;
            }
            const auto* line_end = static_cast<const char*>(std::memchr(
                buffer_.data() + head_.scanned_, '\n', buffer_.size() - head_.scanned_));
            if (line_end == nullptr) {
                if (buffer_.size() > limits_.max_head_bytes) return too_large();
                head_.scanned_ = static_cast<std::uint32_t>(buffer_.size());
                return kIncomplete;
            }
            const auto line_feed = static_cast<std::size_t>(line_end - buffer_.data());
            if (line_feed >= limits_.max_head_bytes) return too_large();
            if (line_feed == head_.line_start_ || line_end[-1] != '\r') {
                return bad(400, "A line of the request head must end in CRLF.");
            }
            const auto line = buffer_.substr(head_.line_start_, line_feed - 1 - head_.line_start_);
            const auto result = take_line(line, line_feed + 1);
            if (result.status != HeadStatus::incomplete) return result;
            head_.line_start_ = head_.scanned_ = static_cast<std::uint32_t>(line_feed + 1);
        }
    }

private:
    // A TLS hello or other noise is refused at its first byte; it may never have a line end.
    HeadResult look_at_first_byte() const noexcept {
        if (head_.line_start_ >= buffer_.size()) return kIncomplete;
        const char first = buffer_[head_.line_start_];
        if (first == '\r' || is_class(first, kToken)) return kIncomplete;
        return bad(400, "The request does not start with a method.");
    }

    HeadResult too_large() const noexcept {
        if (head_.has_request_line_) return bad(431, "The request's header fields are too large.");
        return bad(414, "The request line is too long.");
    }

    HeadResult take_line(std::string_view line, std::size_t next_line) {
        if (head_.has_request_line_) return line.empty() ? complete(next_line) : take_field(line);
        if (!line.empty()) return take_request_line(line);
        if (++head_.empty_lines_ > kMaxEmptyLines) return bad(400, "Too many empty lines.");
        return kLineTaken;
    }

    HeadResult take_request_line(std::string_view line) noexcept {
        const auto method_end = line.find(' ');
        if (method_end == std::string_view::npos || method_end > kMaxMethodBytes ||
            !all_of_class(line.substr(0, method_end), kToken)) {
            return bad(400, "The request line must be: method, target and version.");
        }
        auto rest = line.substr(method_end + 1);
        if (rest.size() < kVersionBytes + 2 || rest[rest.size() - kVersionBytes - 1] != ' ') {
            return bad(400, "The request line must be: method, target and version.");
        }
        const auto version = rest.substr(rest.size() - kVersionBytes);
        rest.remove_suffix(kVersionBytes + 1);
        const auto is_digit = [](char byte) { return byte >= '0' && byte <= '9'; };
        if (!version.starts_with(kVersionPrefix) || !is_digit(version[5]) || version[6] != '.' ||
            !is_digit(version[7])) {
            return bad(400, "The request line must end in an HTTP version.");
        }
        if (version[5] != '1') return bad(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
        if (!all_of_class(rest, kTarget)) {
            return bad(400, "The request target has a character that must be percent-encoded.");
        }
        head_.minor_version = version[7] == '0' ? 0 : 1;  // a higher minor version speaks 1.1 too
        const auto offset = [this](std::string_view part) {
            return static_cast<std::uint32_t>(part.data() - buffer_.data());
        };
        head_.request_line_ = {offset(line), static_cast<std::uint32_t>(method_end), offset(rest),
                               static_cast<std::uint32_t>(rest.size())};
        head_.has_request_line_ = true;
        return kLineTaken;
    }

    HeadResult take_field(std::string_view line) {
        std::size_t name_end = 0;
        while (name_end < line.size() && is_class(line[name_end], kToken)) ++name_end;
        if (name_end == 0 || name_end == line.size() || line[name_end] != ':') {
            if (is_blank(line.front())) return bad(400, "Folded header fields are refused.");
            return bad(400, "A header field must be a name, a colon and a value.");
        }
        const auto name = line.substr(0, name_end);
        const auto value = trim(line.substr(name_end + 1));
        if (!is_field_value(value)) {
            return bad(400, "A header field has a control character.");
        }
        if (head_.field_count_ >= limits_.max_fields) {
            return bad(431, "The request has too many header fields.");
        }
        const HeaderField field{static_cast<std::uint32_t>(name.data() - buffer_.data()),
                                static_cast<std::uint32_t>(name.size()),
                                static_cast<std::uint32_t>(value.data() - buffer_.data()),
                                static_cast<std::uint32_t>(value.size())};
        if (head_.field_count_ < HttpHead::kInlineFields) {
            head_.inline_fields_[head_.field_count_] = field;
        } else {
            head_.more_fields_.push_back(field);
        }
        const auto result = take_known_field(name, value);
        ++head_.field_count_;
        return result;
    }

    // The names are told apart by length first: most fields of a request are none of these.
    HeadResult take_known_field(std::string_view name, std::string_view value) noexcept {
        const auto is = [name](std::string_view lower) {
            return equals_ignoring_case(name, lower);
        };
        switch (name.size()) {
            case 4: return is("host") ? take_host(value) : kLineTaken;
            case 6: return is("expect") ? take_expect(value) : kLineTaken;
            case 10: return is("connection") ? take_connection(value) : kLineTaken;
            case 11:
                head_.has_trace_context = head_.has_trace_context || is("traceparent");
                return kLineTaken;
            case 12: return is("content-type") ? take_once(head_.content_type_at_) : kLineTaken;
            case 14: return is("content-length") ? take_content_length(value) : kLineTaken;
            case 15:
                return is("accept-encoding") ? take_once(head_.accept_encoding_at_) : kLineTaken;
            case 16:
                return is("content-encoding") ? take_once(head_.content_encoding_at_) : kLineTaken;
            case 17: return is("transfer-encoding") ? take_transfer_encoding(value) : kLineTaken;
            case 31:
                return is("inference-header-content-length") ? take_once(head_.header_length_at_)
                                                             : kLineTaken;
            default: return kLineTaken;
        }
    }

    HeadResult take_once(std::int32_t& at) noexcept {
        if (at >= 0) {
            head_.repeated_singleton = true;
        } else {
            at = static_cast<std::int32_t>(head_.field_count_);
        }
        return kLineTaken;
    }

    HeadResult take_host(std::string_view value) noexcept {
        if (head_.has_host_) return bad(400, "The request has more than one Host.");
        if (!all_of_class(value, kHost)) return bad(400, "The Host is not valid.");
        head_.has_host_ = true;
        return kLineTaken;
    }

    HeadResult take_expect(std::string_view value) noexcept {
        if (!equals_ignoring_case(value, "100-continue")) {
            return bad(417, "The only expectation that is met is 100-continue.");
        }
        head_.expect_continue = head_.minor_version > 0;
        return kLineTaken;
    }

    HeadResult take_connection(std::string_view value) noexcept {
        while (!value.empty()) {
            const auto comma = value.find(',');
            const auto option = trim(value.substr(0, comma));
            head_.has_connection_close_ |= equals_ignoring_case(option, "close");
            head_.has_connection_keep_alive_ |= equals_ignoring_case(option, "keep-alive");
            if (comma == std::string_view::npos) break;
            value.remove_prefix(comma + 1);
        }
        return kLineTaken;
    }

    HeadResult take_content_length(std::string_view value) noexcept {
        std::uint64_t length = 0;
        switch (read_digits(value, length)) {
            case Digits::not_digits: return bad(400, "Content-Length must be a decimal number.");
            case Digits::overflow: return bad(413, "Content-Length is too large.");
            case Digits::valid: break;
        }
        if (head_.has_content_length && head_.content_length != length) {
            return bad(400, "The request has several Content-Lengths.");
        }
        head_.has_content_length = true;
        head_.content_length = length;
        return kLineTaken;
    }

    HeadResult take_transfer_encoding(std::string_view value) noexcept {
        if (head_.chunked) return bad(400, "The request has several Transfer-Encodings.");
        if (head_.minor_version == 0) return bad(400, "HTTP/1.0 has no Transfer-Encoding.");
        if (!equals_ignoring_case(value, "chunked")) {
            return bad(501, "The only Transfer-Encoding that is understood is chunked.");
        }
        head_.chunked = true;
        return kLineTaken;
    }

    HeadResult complete(std::size_t head_bytes) noexcept {
        if (!head_.has_host_ && head_.minor_version > 0)
            return bad(400, "The request has no Host.");
        if (head_.chunked && head_.has_content_length) {
            return bad(400, "The request has both Content-Length and Transfer-Encoding.");
        }
        const auto& line = head_.request_line_;
        head_.base_ = buffer_.data();
        head_.method_text = buffer_.substr(line.name_offset, line.name_bytes);
        head_.method = method_of(head_.method_text);
        head_.raw_target = buffer_.substr(line.value_offset, line.value_bytes);
        const auto target = split_target();
        if (is_bad(target)) return target;
        head_.keep_alive = !head_.has_connection_close_ &&
                           (head_.minor_version > 0 || head_.has_connection_keep_alive_);
        head_.content_type = value_at(head_.content_type_at_);
        head_.content_encoding = value_at(head_.content_encoding_at_);
        head_.accept_encoding = value_at(head_.accept_encoding_at_);
        read_header_length();
        return {HeadStatus::complete, 0, static_cast<std::uint32_t>(head_bytes), {}};
    }

    // RFC 9112 3.2: origin form, absolute form, and the asterisk of OPTIONS.
    HeadResult split_target() noexcept {
        auto target = head_.raw_target;
        if (target.front() != '/') {
            if (head_.method_text == "CONNECT") return bad(501, "This server is not a proxy.");
            if (target == "*" && head_.method == HttpMethod::options) {
                head_.target = head_.path = target;
                return kLineTaken;
            }
            if (!strip_authority(target)) return bad(400, "The request target must be a path.");
        }
        head_.target = target;
        head_.path = target.substr(0, target.find('?'));
        if (head_.path.empty()) head_.path = "/";  // http://host?query
        return kLineTaken;
    }

    static bool strip_authority(std::string_view& target) noexcept {
        const auto colon = target.find(':');
        if (colon == std::string_view::npos || target.substr(colon, 3) != "://") return false;
        const auto scheme = target.substr(0, colon);
        if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) {
            return false;
        }
        target.remove_prefix(colon + 3);
        const auto authority = target.substr(0, target.find_first_of("/?"));
        if (authority.empty() || !all_of_class(authority, kHost)) return false;
        target.remove_prefix(authority.size());
        if (target.empty()) target = "/";
        return true;
    }

    std::string_view value_at(std::int32_t index) const noexcept {
        return index < 0 ? std::string_view{} : head_.field_value(static_cast<std::size_t>(index));
    }

    void read_header_length() noexcept {
        if (head_.header_length_at_ < 0) return;
        head_.header_length_text = value_at(head_.header_length_at_);
        const auto digits = read_digits(head_.header_length_text, head_.header_length);
        head_.header_length_state =
            digits == Digits::valid ? HeaderLength::valid : HeaderLength::invalid;
    }

    std::string_view buffer_;
    HttpHead& head_;
    const HeadLimits& limits_;
};

std::string_view HttpHead::find(std::string_view lower_case_name) const noexcept {
    for (std::size_t index = 0; index < field_count_; ++index) {
        if (equals_ignoring_case(field_name(index), lower_case_name)) return field_value(index);
    }
    return {};
}

void HttpHead::reset() noexcept {
    method = HttpMethod::other;
    minor_version = 1;
    keep_alive = true;
    chunked = has_content_length = expect_continue = repeated_singleton = false;
    has_trace_context = false;
    header_length_state = HeaderLength::absent;
    content_length = header_length = 0;
    method_text = target = path = raw_target = {};
    content_type = content_encoding = accept_encoding = header_length_text = {};
    base_ = nullptr;
    line_start_ = scanned_ = field_count_ = empty_lines_ = 0;
    has_request_line_ = has_host_ = has_connection_close_ = has_connection_keep_alive_ = false;
    content_type_at_ = content_encoding_at_ = accept_encoding_at_ = header_length_at_ = -1;
    more_fields_.clear();
}

HeadResult parse_head(std::string_view buffer, HttpHead& head, const HeadLimits& limits) {
    return HeadParser(buffer, head, limits).run();
}

}  // namespace mpserve
