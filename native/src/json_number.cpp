#include "mpserve/json_number.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "mpserve/shortest_decimal.hpp"
#include "mpserve/wide_power.hpp"

namespace mpserve {

namespace {

constexpr int kRoundedUpFrom = -27;  // what the conversion's proof asks of reciprocals
constexpr WidePowers kWidePowers = make_wide_powers(kRoundedUpFrom);

constexpr int kExactPowers = 22;  // 10^22 is the highest power of ten that is a double
constexpr auto make_exact_powers() {
    std::array<double, kExactPowers + 1> powers{};
    double ten = 1;
    for (auto& power : powers) {
        power = ten;
        ten *= 10;
    }
    return powers;
}
constexpr auto kExactTens = make_exact_powers();

uint128 multiply(std::uint64_t a, std::uint64_t b) noexcept { return uint128{a} * b; }

constexpr char kPairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546"
    "4748"
    "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495"
    "9697"
    "9899";

constexpr std::uint64_t kEightDigits = 100'000'000;

int count_digits(std::uint32_t value) noexcept {
    if (value < 10'000) return value < 100 ? (value < 10 ? 1 : 2) : (value < 1'000 ? 3 : 4);
    return value < 1'000'000 ? (value < 100'000 ? 5 : 6) : (value < 10'000'000 ? 7 : 8);
}

// Fewer than nine digits, pair by pair from the end.
char* write_short_integer(char* out, std::uint32_t value) noexcept {
    char* const behind = out + count_digits(value);
    char* at = behind;
    while (value >= 100) {
        at -= 2;
        std::memcpy(at, kPairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        std::memcpy(out, kPairs + 2 * value, 2);
    } else {
        *out = static_cast<char>('0' + value);
    }
    return behind;
}

// Exactly eight digits, with leading zeros: the four pairs do not wait for each other.
char* write_eight_digits(char* out, std::uint32_t value) noexcept {
    const std::uint32_t high = value / 10'000;
    const std::uint32_t low = value % 10'000;
    std::memcpy(out, kPairs + 2 * (high / 100), 2);
    std::memcpy(out + 2, kPairs + 2 * (high % 100), 2);
    std::memcpy(out + 4, kPairs + 2 * (low / 100), 2);
    std::memcpy(out + 6, kPairs + 2 * (low % 100), 2);
    return out + 8;
}

// Copies all of `digits`, whatever their count: a copy of a fixed size is a few moves, not a call.
// What lies behind the count is overwritten by what follows, or is behind the end.
struct DigitText {
    static constexpr std::size_t kRoom = 24;
    char text[kRoom + kMaxIntegerChars];
    int count;

    char* copy_from(int first, char* out) const noexcept {
        std::memcpy(out, text + first, kRoom);
        return out + (count - first);
    }
};

// RapidJSON's form of digits * 10^power, where the digits have no trailing zero.
char* put_decimal(char* out, const DigitText& digits, int power) noexcept {
    const int count = digits.count;
    const int point = count + power;  // digits before the decimal point
    if (power >= 0 && point <= 21) {
        out = digits.copy_from(0, out);
        std::memset(out, '0', static_cast<std::size_t>(power));
        std::memcpy(out + power, ".0", 2);
        return out + power + 2;
    }
    if (point > 0 && point <= 21) {
        digits.copy_from(0, out);
        out[point] = '.';
        return digits.copy_from(point, out + point + 1);
    }
    if (point > -6 && point <= 0) {
        std::memcpy(out, "0.000000", 8);
        return digits.copy_from(0, out + 2 - point);
    }
    *out++ = digits.text[0];
    if (count > 1) {
        *out++ = '.';
        out = digits.copy_from(1, out);
    }
    *out++ = 'e';
    return write_integer(out, std::int64_t{point - 1});
}

}  // namespace

bool scale_decimal(std::uint64_t mantissa, std::int64_t exponent, double& out) noexcept {
    constexpr std::uint64_t kExactMantissa = std::uint64_t{1} << 53;
    if (mantissa <= kExactMantissa && exponent >= -kExactPowers && exponent <= kExactPowers) {
        // Both factors are exact, so one rounding gives the nearest double.
        const auto exact = static_cast<double>(mantissa);
        out = exponent < 0 ? exact / kExactTens[static_cast<std::size_t>(-exponent)]
                           : exact * kExactTens[static_cast<std::size_t>(exponent)];
        return true;
    }
    if (mantissa == 0 || !has_wide_power(exponent)) return false;

    // 128-bit product of the shifted mantissa and the shifted power of five; the wider power is
    // used only when the bits behind the 55 that count are all ones, so that a carry could reach
    // these.
    const int shift = std::countl_zero(mantissa);
    const auto shifted = mantissa << shift;
    const auto& power = wide_power(kWidePowers, exponent);
    auto product = multiply(shifted, power.high);
    constexpr std::uint64_t kSpareBits = 0x1ff;
    if ((static_cast<std::uint64_t>(product >> 64) & kSpareBits) == kSpareBits) {
        product += multiply(shifted, power.low) >> 64;
    }
    const auto high = static_cast<std::uint64_t>(product >> 64);
    const auto low = static_cast<std::uint64_t>(product);
    if (low == UINT64_MAX && exponent < kRoundedUpFrom) return false;  // not decided

    const int top = static_cast<int>(high >> 63);
    const int dropped = top + 9;
    auto bits = high >> dropped;                // 53 bits and the one that rounds
    constexpr std::int64_t kLog2Of10 = 217706;  // * 2^-16
    const auto binary_exponent = ((kLog2Of10 * exponent) >> 16) + 63 - shift + top;
    // Halfway, exactly: only small powers of five can be. Then to even, else up.
    if (low <= 1 && exponent >= -4 && exponent <= 23 && (bits & 3) == 1 &&
        bits << dropped == high) {
        bits &= ~std::uint64_t{1};
    }
    bits = (bits + (bits & 1)) >> 1;
    // Rounding up to 2^53 carries into the exponent by itself.
    const auto biased = static_cast<std::uint64_t>(binary_exponent + 1023);
    out = std::bit_cast<double>((biased << 52) + (bits - (std::uint64_t{1} << 52)));
    return true;
}

bool read_double_slowly(const char* begin, const char* end, double& out) noexcept {
    const auto [behind, error] = std::from_chars(begin, end, out);
    return error == std::errc{} && behind == end && std::isfinite(out);
}

char* write_integer(char* out, std::uint64_t value) noexcept {
    if (value < kEightDigits) return write_short_integer(out, static_cast<std::uint32_t>(value));
    const auto last = static_cast<std::uint32_t>(value % kEightDigits);
    value /= kEightDigits;
    if (value < kEightDigits) {
        out = write_short_integer(out, static_cast<std::uint32_t>(value));
    } else {
        out = write_short_integer(out, static_cast<std::uint32_t>(value / kEightDigits));
        out = write_eight_digits(out, static_cast<std::uint32_t>(value % kEightDigits));
    }
    return write_eight_digits(out, last);
}

char* write_integer(char* out, std::int64_t value) noexcept {
    auto magnitude = static_cast<std::uint64_t>(value);
    if (value < 0) {
        *out++ = '-';
        magnitude = 0u - magnitude;
    }
    return write_integer(out, magnitude);
}

char* write_double(char* out, double value) noexcept {
    if (std::signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
    if (value < kExactIntegers) {
        const auto whole = static_cast<std::uint64_t>(value);
        if (static_cast<double>(whole) == value) {
            out = write_integer(out, whole);
            std::memcpy(out, ".0", 2);
            return out + 2;
        }
    }
    auto [digits, power] = shortest_decimal(value);
    if (digits % kEightDigits == 0) {
        digits /= kEightDigits;
        power += 8;
    }
    while (digits % 10 == 0) {
        digits /= 10;
        ++power;
    }
    DigitText text;
    text.count = static_cast<int>(write_integer(text.text, digits) - text.text);
    return put_decimal(out, text, power);
}

}  // namespace mpserve
