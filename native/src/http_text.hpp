// Texts of HTTP heads: which bytes may stand where, blanks, numbers, names without case.
//
// Guarantees: no allocation; each function looks at every byte of its text once.
// Source: RFC 9110 section 5.6; RFC 3986 section 3.2.2.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace mpserve::http_text {

// Classes of bytes, one bit each.
inline constexpr std::uint8_t kToken = 1;  // RFC 9110 5.6.2 tchar
inline constexpr std::uint8_t kValue = 2;  // field value: VCHAR, obs-text, SP, HTAB
inline constexpr std::uint8_t kTarget =
    4;  // visible ASCII but '#': wider than RFC 3986, as the peers are
inline constexpr std::uint8_t kHost = 8;  // RFC 3986 reg-name, IP literal and port

constexpr std::array<std::uint8_t, 256> make_byte_classes() {
    std::array<std::uint8_t, 256> classes{};
    const auto add = [&classes](std::string_view bytes, std::uint8_t bit) {
        for (const char byte : bytes) classes[static_cast<unsigned char>(byte)] |= bit;
    };
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool letter_or_digit = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                                     (byte >= 'a' && byte <= 'z');
        if (letter_or_digit) classes[byte] |= kToken | kHost;
        if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) classes[byte] |= kValue;
        if (byte > 0x20 && byte < 0x7f && byte != '#') classes[byte] |= kTarget;
    }
    add("!#$%&'*+-.^_`|~", kToken);
    add("-._~!$&'()*+,;=:[]%", kHost);
    return classes;
}

inline constexpr auto kByteClasses = make_byte_classes();

inline bool is_class(char byte, std::uint8_t bit) noexcept {
    return (kByteClasses[static_cast<unsigned char>(byte)] & bit) != 0;
}

inline bool all_of_class(std::string_view bytes, std::uint8_t bit) noexcept {
    std::uint8_t common = bit;
    for (const char byte : bytes) common &= kByteClasses[static_cast<unsigned char>(byte)];
    return common != 0;
}

// Whether a field value has only visible characters, blanks and obs-text; eight bytes at once, and
// one by one only where a byte looks like a control character (a tab is none).
inline bool is_field_value(std::string_view value) noexcept {
    constexpr std::uint64_t kOnes = 0x0101010101010101u;
    constexpr std::uint64_t kHighBits = 0x8080808080808080u;
    const auto has_zero = [](std::uint64_t word) { return (word - kOnes) & ~word & kHighBits; };
    while (value.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, value.data(), sizeof word);
        const auto below_blank = (word - kOnes * 0x20) & ~word & kHighBits;
        const auto is_delete = has_zero(word ^ (kOnes * 0x7f));
        if ((below_blank | is_delete) != 0 && !all_of_class(value.substr(0, sizeof word), kValue)) {
            return false;
        }
        value.remove_prefix(sizeof word);
    }
    return all_of_class(value, kValue);
}

// `lower` is letters, digits and '-'; `text` is a token or a field value, so that setting bit 5
// maps nothing else onto these.
inline bool equals_ignoring_case(std::string_view text, std::string_view lower) noexcept {
    if (text.size() != lower.size()) return false;
    unsigned difference = 0;
    for (std::size_t index = 0; index < text.size(); ++index) {
        difference |= static_cast<unsigned>((text[index] | 0x20) ^ lower[index]);
    }
    return difference == 0;
}

inline bool is_blank(char byte) noexcept { return byte == ' ' || byte == '\t'; }

inline std::string_view trim(std::string_view text) noexcept {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

enum class Digits : std::uint8_t { valid, not_digits, overflow };

inline Digits read_digits(std::string_view text, std::uint64_t& value) noexcept {
    if (text.empty()) return Digits::not_digits;
    std::uint64_t sum = 0;
    bool overflow = false;
    for (const char byte : text) {
        if (byte < '0' || byte > '9') return Digits::not_digits;
        overflow |= __builtin_mul_overflow(sum, std::uint64_t{10}, &sum);
        overflow |= __builtin_add_overflow(sum, static_cast<std::uint64_t>(byte - '0'), &sum);
    }
    if (overflow || sum > static_cast<std::uint64_t>(INT64_MAX)) return Digits::overflow;
    value = sum;
    return Digits::valid;
}

}  // namespace mpserve::http_text
