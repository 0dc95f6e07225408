#include "mpserve/json_scanner.hpp"

#include <cstring>

#include "mpserve/byte_scan.hpp"
#include "mpserve/json_number.hpp"
#include "mpserve/utf8.hpp"

namespace mpserve {

namespace {

// Value of four hexadecimal digits, or -1.
int read_hex4(const char* at, const char* end) noexcept {
    if (end - at < 4) return -1;
    int value = 0;
    for (int index = 0; index < 4; ++index) {
        const char byte = at[index];
        int digit = 0;
        if (byte >= '0' && byte <= '9') {
            digit = byte - '0';
        } else if (byte >= 'a' && byte <= 'f') {
            digit = byte - 'a' + 10;
        } else if (byte >= 'A' && byte <= 'F') {
            digit = byte - 'A' + 10;
        } else {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

bool is_high_surrogate(int unit) noexcept { return unit >= 0xd800 && unit < 0xdc00; }
bool is_low_surrogate(int unit) noexcept { return unit >= 0xdc00 && unit < 0xe000; }

// `at` is on a backslash. The byte behind the escape (behind both halves of a surrogate pair).
const char* skip_escape(const char* at, const char* end) noexcept {
    if (end - at < 2) return nullptr;
    if (at[1] != 'u') {
        constexpr std::string_view kSimple = "\"\\/bfnrt";
        return kSimple.find(at[1]) == std::string_view::npos ? nullptr : at + 2;
    }
    const int unit = read_hex4(at + 2, end);
    if (unit < 0 || is_low_surrogate(unit)) return nullptr;
    if (!is_high_surrogate(unit)) return at + 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u') return nullptr;
    return is_low_surrogate(read_hex4(at + 8, end)) ? at + 12 : nullptr;
}

char simple_escape(char letter) noexcept {
    switch (letter) {
        case 'b': return '\b';
        case 'f': return '\f';
        case 'n': return '\n';
        case 'r': return '\r';
        case 't': return '\t';
        default: return letter;  // quote, backslash, slash
    }
}

}  // namespace

const char* read_json_string(const char* at, const char* end, JsonString& out) noexcept {
    const char* const first = ++at;
    bool escaped = false;
    while (true) {
        at = find_string_break(at, end);
        if (at == end) return nullptr;
        if (*at == '"') break;
        if (*at == '\\') {
            escaped = true;
            at = skip_escape(at, end);
        } else if (static_cast<unsigned char>(*at) < 0x20) {
            return nullptr;
        } else {
            at = skip_utf8_sequence(at, end);
        }
        if (at == nullptr) return nullptr;
    }
    out = {{first, static_cast<std::size_t>(at - first)}, escaped};
    return at + 1;
}

char* unescape(std::string_view raw, char* out) noexcept {
    const char* at = raw.data();
    const char* const end = at + raw.size();
    while (at < end) {
        const auto* backslash =
            static_cast<const char*>(std::memchr(at, '\\', static_cast<std::size_t>(end - at)));
        const char* const plain_end = backslash == nullptr ? end : backslash;
        const auto plain = static_cast<std::size_t>(plain_end - at);
        std::memcpy(out, at, plain);
        out += plain;
        at = plain_end;
        if (at == end) break;
        if (at[1] != 'u') {
            *out++ = simple_escape(at[1]);
            at += 2;
            continue;
        }
        const int unit = read_hex4(at + 2, end);
        at += 6;
        auto code_point = static_cast<std::uint32_t>(unit);
        if (is_high_surrogate(unit)) {
            const int low = read_hex4(at + 2, end);
            at += 6;
            code_point = 0x10000u + ((code_point - 0xd800u) << 10) +
                         (static_cast<std::uint32_t>(low) - 0xdc00u);
        }
        out = put_utf8(out, code_point);
    }
    return out;
}

const char* jump_over_array(const char* at, const char* end, int max_nesting) noexcept {
    int nesting = 0;
    while (true) {
        at = find_bracket_or_quote(at, end);
        if (at == end) return nullptr;
        if (*at == '[') {
            if (++nesting > max_nesting) return nullptr;
        } else if (*at == ']') {
            if (--nesting == 0) return at + 1;
        } else {
            // Over the string: its end is the first quote behind an even run of backslashes.
            while (true) {
                at = find_string_break(at + 1, end);
                if (at == end) return nullptr;
                if (*at == '"') break;
                if (*at == '\\' && ++at == end) return nullptr;
            }
        }
        ++at;
    }
}

bool JsonScanner::take_word(std::string_view word) noexcept {
    if (static_cast<std::size_t>(end_ - at_) < word.size()) return false;
    if (std::memcmp(at_, word.data(), word.size()) != 0) return false;
    at_ += word.size();
    return true;
}

bool JsonScanner::read_bool(bool& out) noexcept {
    out = peek() == 't';
    return out ? take_word("true") : take_word("false");
}

bool JsonScanner::read_size(std::uint64_t& out) noexcept {
    skip_blanks();
    std::int64_t value = 0;
    const char* behind = read_integer(at_, end_, value);
    if (behind == nullptr || value < 0) return false;
    out = static_cast<std::uint64_t>(value);
    at_ = behind;
    return true;
}

JsonScalar JsonScanner::take_scalar() noexcept {
    const char first = peek();
    if (first == '"') {
        JsonString text;
        return read_string(text) ? JsonScalar::string : JsonScalar::none;
    }
    if (first == 't' || first == 'f') {
        bool value = false;
        return read_bool(value) ? JsonScalar::boolean : JsonScalar::none;
    }
    std::int64_t integer = 0;
    if (const char* behind = read_integer(at_, end_, integer); behind != nullptr) {
        at_ = behind;
        return JsonScalar::integer;
    }
    double real = 0;
    bool is_integer_literal = false;
    const char* behind = read_double(at_, end_, real, is_integer_literal);
    if (behind == nullptr || is_integer_literal) return JsonScalar::none;  // past 64 bits
    at_ = behind;
    return JsonScalar::real;
}

}  // namespace mpserve
