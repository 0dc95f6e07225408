// A cursor over JSON text that takes tokens one by one and says where it is not RFC 8259.
//
// Guarantees: strict (no comments, no trailing commas, no control characters in strings, valid
//   escapes, paired surrogates, valid UTF-8); never reads past the end; allocates nothing.
// Assumes: the text outlives what was read from it (strings are views of it); its last byte cannot
//   be part of a number (json_number.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mpserve {

// A string as it stands between its quotes.
struct JsonString {
    std::string_view raw;
    bool escaped = false;  // has a backslash: `unescape` gives its value
};

enum class JsonScalar : std::uint8_t { none, string, integer, real, boolean };

// Reads the string that starts at `at` (on its opening quote). Gives the byte behind the closing
// quote, or nullptr.
const char* read_json_string(const char* at, const char* end, JsonString& out) noexcept;

// Writes the value of a string that `read_json_string` took: at most `raw.size()` bytes. Gives the
// place behind it.
char* unescape(std::string_view raw, char* out) noexcept;

// The byte behind the array that starts at `at`, found by its brackets alone: what lies between is
// not checked. nullptr when it does not end, or nests deeper than `max_nesting`.
const char* jump_over_array(const char* at, const char* end, int max_nesting) noexcept;

class JsonScanner {
public:
    explicit JsonScanner(std::string_view text) noexcept
        : at_(text.data()), end_(text.data() + text.size()) {}

    const char* at() const noexcept { return at_; }
    const char* end() const noexcept { return end_; }
    void go_to(const char* at) noexcept { at_ = at; }

    void skip_blanks() noexcept {
        while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
    }
    // The next byte that is not blank, '\0' at the end of the text. Stays in front of it.
    char peek() noexcept {
        skip_blanks();
        return at_ < end_ ? *at_ : '\0';
    }
    // Takes this byte when it comes next, blanks before it not counted.
    bool take(char byte) noexcept {
        if (peek() != byte || at_ == end_) return false;
        ++at_;
        return true;
    }
    bool read_string(JsonString& out) noexcept {
        if (peek() != '"') return false;
        const char* behind = read_json_string(at_, end_, out);
        if (behind == nullptr) return false;
        at_ = behind;
        return true;
    }
    bool read_bool(bool& out) noexcept;
    // A non-negative integer of at most 2^63-1.
    bool read_size(std::uint64_t& out) noexcept;
    // Takes a string, a number (64-bit integer or finite double) or a boolean and says which it
    // was; none: something else comes next.
    JsonScalar take_scalar() noexcept;
    bool at_end() noexcept {
        skip_blanks();
        return at_ == end_;
    }

private:
    bool take_word(std::string_view word) noexcept;

    const char* at_;
    const char* end_;
};

}  // namespace mpserve
