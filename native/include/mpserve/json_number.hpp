// JSON numbers ↔ machine numbers, exactly.
//
// Guarantees: a double is the nearest one (ties to even) and prints as the shortest decimal that
//   reads back as the same; integers are range-checked; RFC 8259 grammar (no leading zero, no plus,
//   a digit on both sides of the point). Readers say nullptr for what is no number of that kind,
//   for what is out of range, and for the integer literal `-0`, which readers elsewhere disagree
//   about.
// Assumes: the last byte of the text cannot be part of a number (the ']' or '}' that ends a JSON
//   value): digits are then read without asking for the end at each byte.
// Source: D. Lemire, "Number Parsing at a Gigabyte per Second" (2021), for the conversion;
//   RapidJSON's printing form: always a point or an exponent, exponents from 1e21 up and below
//   1e-6.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace mpserve {

// Room that a writer needs; a double is at most 26 long, but more than that is written.
inline constexpr std::size_t kMaxIntegerChars = 20;
inline constexpr std::size_t kMaxDoubleChars = 56;

// Nearest double of mantissa * 10^exponent; false when it is not in the quick range.
bool scale_decimal(std::uint64_t mantissa, std::int64_t exponent, double& out) noexcept;

// The same for any number text; false when it is not a finite double.
bool read_double_slowly(const char* begin, const char* end, double& out) noexcept;

char* write_integer(char* out, std::uint64_t value) noexcept;
char* write_integer(char* out, std::int64_t value) noexcept;
char* write_double(char* out, double value) noexcept;  // of a finite value

inline unsigned digit_at(const char* at) noexcept {
    return static_cast<unsigned>(static_cast<unsigned char>(*at)) - '0';
}

// Takes eight digits at once; false when the eight bytes are not all digits.
inline bool take_eight_digits(const char*& at, const char* end, std::uint64_t& mantissa) noexcept {
    if constexpr (std::endian::native != std::endian::little) return false;
    if (end - at < 8) return false;
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    // The high half of each byte must be 3, also after 6 is added to the low half (so it is < 10).
    constexpr std::uint64_t kHighHalves = 0xf0f0f0f0f0f0f0f0u;
    constexpr std::uint64_t kThrees = 0x3030303030303030u;
    if ((word & kHighHalves) != kThrees ||
        ((word + 0x0606060606060606u) & kHighHalves) != kThrees) {
        return false;
    }
    word &= 0x0f0f0f0f0f0f0f0fu;
    // Neighbours are joined: digits to pairs, pairs to fours, fours to eight.
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffu;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffu;
    word = (word * 10000 + (word >> 32)) & 0xffffffffu;
    mantissa = mantissa * 100000000u + word;
    at += 8;
    return true;
}

template <std::integral Integer>
const char* read_integer(const char* at, const char* end, Integer& out) noexcept {
    if (at == end) return nullptr;
    const bool negative = *at == '-';
    if (negative) {
        if constexpr (std::is_unsigned_v<Integer>) return nullptr;
        ++at;
    }
    const char* const first = at;
    std::uint64_t magnitude = 0;
    unsigned digit = digit_at(at);
    if (digit > 9) return nullptr;
    if (digit == 0) {
        if (negative) return nullptr;
        ++at;
    } else {
        do {
            magnitude = magnitude * 10 + digit;
            digit = digit_at(++at);
        } while (digit <= 9);
    }
    const auto digits = at - first;
    if (digits > 19) {
        // Twenty digits fit when the first is 1 and the sum did not wrap.
        constexpr std::uint64_t kTwentyDigits = 10'000'000'000'000'000'000u;
        if (digits > 20 || *first != '1' || magnitude < kTwentyDigits) return nullptr;
    }
    if (digit_at(at) <= 9 || *at == '.' || *at == 'e' || *at == 'E') return nullptr;
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<Integer>::max());
    if (magnitude > kMax + (negative ? 1u : 0u)) return nullptr;
    out = static_cast<Integer>(negative ? 0u - magnitude : magnitude);
    return at;
}

// `is_integer_literal`: the text has neither point nor exponent.
inline const char* read_double(const char* at, const char* end, double& out,
                               bool& is_integer_literal) noexcept {
    if (at == end) return nullptr;
    const char* const begin = at;
    const bool negative = *at == '-';
    at += negative ? 1 : 0;
    const char* const first = at;
    std::uint64_t mantissa = digit_at(at);
    if (mantissa > 9) return nullptr;
    ++at;
    unsigned digit = digit_at(at);
    if (mantissa == 0) {
        if (digit <= 9) return nullptr;
    } else {
        for (; digit <= 9; digit = digit_at(++at)) mantissa = mantissa * 10 + digit;
    }
    auto digits = at - first;
    std::int64_t exponent = 0;
    is_integer_literal = true;
    if (*at == '.') {
        is_integer_literal = false;
        const char* const fraction = ++at;
        while (take_eight_digits(at, end, mantissa)) {
        }
        for (digit = digit_at(at); digit <= 9; digit = digit_at(++at))
            mantissa = mantissa * 10 + digit;
        const auto fraction_digits = at - fraction;
        if (fraction_digits == 0) return nullptr;
        digits += fraction_digits;
        exponent = -fraction_digits;
    }
    if (*at == 'e' || *at == 'E') {
        is_integer_literal = false;
        ++at;
        const bool negative_power = *at == '-';
        if (*at == '-' || *at == '+') ++at;
        digit = digit_at(at);
        if (digit > 9) return nullptr;
        std::int64_t power = 0;
        for (; digit <= 9; digit = digit_at(++at)) {
            if (power < 100'000) power = power * 10 + static_cast<std::int64_t>(digit);
        }
        exponent += negative_power ? -power : power;
    }
    if (digits > 19) {
        // Leading zeros do not count; more digits than fit are for the slow way.
        for (const char* zero = first; *zero == '0' || *zero == '.'; ++zero) digits -= *zero == '0';
        if (digits > 19) return read_double_slowly(begin, at, out) ? at : nullptr;
    }
    if (mantissa == 0) {
        if (negative && is_integer_literal) return nullptr;
        out = negative ? -0.0 : 0.0;
        return at;
    }
    double magnitude = 0;
    if (!scale_decimal(mantissa, exponent, magnitude)) {
        return read_double_slowly(begin, at, out) ? at : nullptr;
    }
    out = negative ? -magnitude : magnitude;
    return at;
}

}  // namespace mpserve
