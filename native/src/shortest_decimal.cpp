#include "mpserve/shortest_decimal.hpp"

#include <bit>
#include <charconv>

#include "mpserve/wide_power.hpp"

namespace mpserve {

namespace {

constexpr WidePowers kPowers = make_wide_powers(-kWidePowerRange);

// floor(log10(2^e)), floor(log10(3/4 * 2^e)) and floor(log2(10^e)); exact for exponents of doubles.
constexpr int log10_of_power_of_2(int exponent) { return (exponent * 1262611) >> 22; }
constexpr int log10_of_three_quarters(int exponent) { return (exponent * 1262611 - 524031) >> 22; }
constexpr int log2_of_power_of_10(int exponent) { return (exponent * 1741647) >> 19; }

// High part of power * factor, its lowest bit set when anything was cut off: enough to compare with
// whole numbers and halves.
std::uint64_t scale(const WidePower& power, std::uint64_t factor) noexcept {
    const auto carried = static_cast<std::uint64_t>((uint128{power.low} * factor) >> 64);
    const uint128 product = uint128{power.high} * factor + carried;
    const auto rest = static_cast<std::uint64_t>(product);
    return static_cast<std::uint64_t>(product >> 64) | (rest > 1 ? 1u : 0u);
}

Decimal shortest_decimal_slowly(double value) noexcept {
    // d.ddde±xx
    char text[40];
    const auto end =
        std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
    Decimal decimal{0, 0};
    const char* at = text;
    bool behind_point = false;
    for (; *at != 'e'; ++at) {
        if (*at == '.') {
            behind_point = true;
            continue;
        }
        decimal.digits = decimal.digits * 10 + static_cast<std::uint64_t>(*at - '0');
        decimal.power -= behind_point ? 1 : 0;
    }
    int power = 0;
    std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, power);
    decimal.power += power;
    return decimal;
}

}  // namespace

Decimal shortest_decimal(double value) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    constexpr std::uint64_t kFractionMask = (std::uint64_t{1} << 52) - 1;
    const auto fraction = bits & kFractionMask;
    const auto biased_exponent = static_cast<int>(bits >> 52);
    const int exponent = biased_exponent - 1075;  // value = significand * 2^exponent
    // Below a power of two the neighbour is only half as far away.
    const bool is_power_of_2 = fraction == 0;
    const int power =
        is_power_of_2 ? log10_of_three_quarters(exponent) : log10_of_power_of_2(exponent);
    if (biased_exponent == 0 || !has_wide_power(-power)) return shortest_decimal_slowly(value);

    // The value and the ends of what rounds to it, times four, in units of 10^power.
    const auto& unit = wide_power(kPowers, -power);
    const int shift = exponent + log2_of_power_of_10(-power) + 1;
    const auto quarters = (fraction | (kFractionMask + 1)) << 2;
    const auto middle = scale(unit, quarters << shift);
    const auto below = scale(unit, (quarters - (is_power_of_2 ? 1 : 2)) << shift);
    const auto above = scale(unit, (quarters + 2) << shift);
    // The ends themselves round to the value when its significand is even.
    const std::uint64_t excluded = fraction & 1;
    const auto lowest = below + excluded;
    const auto highest = above - excluded;

    const auto floor = middle >> 2;
    if (floor >= 10) {
        // One digit less, when exactly one of the two candidates around the value is within.
        const auto tens = floor / 10;
        const bool down_fits = lowest <= 40 * tens;
        const bool up_fits = 40 * tens + 40 <= highest;
        if (down_fits != up_fits) return {tens + (up_fits ? 1 : 0), power + 1};
    }
    const bool down_fits = lowest <= 4 * floor;
    const bool up_fits = 4 * floor + 4 <= highest;
    if (down_fits != up_fits) return {floor + (up_fits ? 1 : 0), power};
    const auto half = 4 * floor + 2;
    const bool round_up = middle > half || (middle == half && (floor & 1) != 0);
    return {floor + (round_up ? 1 : 0), power};
}

}  // namespace mpserve
