#include "mpserve/json_number.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace mpserve {

namespace {

__extension__ using uint128 = unsigned __int128;

// Powers of five around zero, each shifted so that its highest bit is bit 127: enough for the
// decimals that floats print as. 5^55 is the highest that is exact in 128 bits.
constexpr int kPowerRange = 55;
constexpr int kRoundedUpDownTo =
    -27;  // reciprocals down to here are rounded up (Lemire, section 6)

struct WidePower {
    std::uint64_t high;
    std::uint64_t low;
};

constexpr WidePower split(uint128 value) {
    return {static_cast<std::uint64_t>(value >> 64), static_cast<std::uint64_t>(value)};
}

constexpr uint128 shift_to_top(uint128 value) {
    while ((value >> 127) == 0) value <<= 1;
    return value;
}

// First 128 significant bits of 1 / divisor, by long division.
constexpr uint128 reciprocal_bits(uint128 divisor) {
    uint128 remainder = 1;
    uint128 bits = 0;
    while ((bits >> 127) == 0) {
        const bool wraps = (remainder >> 127) != 0;
        remainder <<= 1;
        bits <<= 1;
        if (wraps || remainder >= divisor) {
            remainder -= divisor;
            bits |= 1;
        }
    }
    return bits;
}

constexpr auto make_wide_powers() {
    std::array<WidePower, 2 * kPowerRange + 1> powers{};
    uint128 five = 1;
    for (int power = 0; power <= kPowerRange; ++power, five *= 5) {
        powers[static_cast<std::size_t>(kPowerRange + power)] = split(shift_to_top(five));
        if (power == 0) continue;
        const uint128 round_up = -power >= kRoundedUpDownTo ? 1 : 0;
        powers[static_cast<std::size_t>(kPowerRange - power)] =
            split(reciprocal_bits(five) + round_up);
    }
    return powers;
}

constexpr auto kWidePowers = make_wide_powers();

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

int count_digits(std::uint64_t value) noexcept {
    int digits = 1;
    while (value >= 10000) {
        value /= 10000;
        digits += 4;
    }
    if (value >= 1000) return digits + 3;
    if (value >= 100) return digits + 2;
    return digits + (value >= 10 ? 1 : 0);
}

char* put_text(char* out, const char* text, std::size_t bytes) noexcept {
    std::memcpy(out, text, bytes);
    return out + bytes;
}

char* put_zeros(char* out, int count) noexcept {
    std::memset(out, '0', static_cast<std::size_t>(count));
    return out + count;
}

// RapidJSON's form of digits * 10^power, where the digits have no trailing zero.
char* put_decimal(char* out, const char* digits, int count, int power) noexcept {
    const int point = count + power;  // digits before the decimal point
    const auto bytes = static_cast<std::size_t>(count);
    if (power >= 0 && point <= 21) {
        out = put_zeros(put_text(out, digits, bytes), power);
        return put_text(out, ".0", 2);
    }
    if (point > 0 && point <= 21) {
        const auto whole = static_cast<std::size_t>(point);
        out = put_text(out, digits, whole);
        *out++ = '.';
        return put_text(out, digits + whole, bytes - whole);
    }
    if (point > -6 && point <= 0) {
        out = put_zeros(put_text(out, "0.", 2), -point);
        return put_text(out, digits, bytes);
    }
    *out++ = digits[0];
    if (count > 1) {
        *out++ = '.';
        out = put_text(out, digits + 1, bytes - 1);
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
    if (mantissa == 0 || exponent < -kPowerRange || exponent > kPowerRange) return false;

    // 128-bit product of the shifted mantissa and the shifted power of five; the wider power is
    // used only when the bits behind the 55 that count are all ones, so that a carry could reach
    // these.
    const int shift = std::countl_zero(mantissa);
    const auto shifted = mantissa << shift;
    const auto& power = kWidePowers[static_cast<std::size_t>(exponent + kPowerRange)];
    auto product = multiply(shifted, power.high);
    constexpr std::uint64_t kSpareBits = 0x1ff;
    if ((static_cast<std::uint64_t>(product >> 64) & kSpareBits) == kSpareBits) {
        product += multiply(shifted, power.low) >> 64;
    }
    const auto high = static_cast<std::uint64_t>(product >> 64);
    const auto low = static_cast<std::uint64_t>(product);
    if (low == UINT64_MAX && exponent < kRoundedUpDownTo) return false;  // not decided

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
    char* const behind = out + count_digits(value);
    char* at = behind;
    while (value >= 100) {
        at -= 2;
        std::memcpy(at, kPairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        std::memcpy(at - 2, kPairs + 2 * value, 2);
    } else {
        at[-1] = static_cast<char>('0' + value);
    }
    return behind;
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
        if (static_cast<double>(whole) == value)
            return put_text(write_integer(out, whole), ".0", 2);
    }
    // d.ddde±xx with the fewest digits that read back as `value`.
    char text[40];
    const auto written =
        std::to_chars(text, text + sizeof text, value, std::chars_format::scientific);
    char* mark = written.ptr;
    while (*--mark != 'e') {
    }
    int power = 0;
    std::from_chars(mark[1] == '+' ? mark + 2 : mark + 1, written.ptr, power);
    int count = 1;
    if (mark - text > 1) {
        count = static_cast<int>(mark - text) - 1;
        text[1] = text[0];  // over the point
        return put_decimal(out, text + 1, count, power - count + 1);
    }
    return put_decimal(out, text, count, power);
}

}  // namespace mpserve
