// Powers of ten around zero as 128-bit significands, made at compile time.
//
// 10^e and 5^e have the same significand; each is shifted so that its highest bit is bit 127. Up to
// 5^55 they are exact; a power below zero is a reciprocal, cut off or rounded up as its reader
// needs. The range is what the decimals of 32-bit floats need, and of nearly all doubles that
// people send.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mpserve {

__extension__ using uint128 = unsigned __int128;

inline constexpr int kWidePowerRange = 55;

struct WidePower {
    std::uint64_t high;
    std::uint64_t low;
};

using WidePowers = std::array<WidePower, 2 * kWidePowerRange + 1>;

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

// Reciprocals from `rounded_up_from` on are rounded up, those below are cut off.
constexpr WidePowers make_wide_powers(int rounded_up_from) {
    WidePowers powers{};
    uint128 five = 1;
    for (int power = 0; power <= kWidePowerRange; ++power, five *= 5) {
        powers[static_cast<std::size_t>(kWidePowerRange + power)] = split(shift_to_top(five));
        if (power == 0) continue;
        const uint128 round_up = -power >= rounded_up_from ? 1 : 0;
        powers[static_cast<std::size_t>(kWidePowerRange - power)] =
            split(reciprocal_bits(five) + round_up);
    }
    return powers;
}

constexpr const WidePower& wide_power(const WidePowers& powers, std::int64_t exponent) noexcept {
    return powers[static_cast<std::size_t>(exponent + kWidePowerRange)];
}

constexpr bool has_wide_power(std::int64_t exponent) noexcept {
    return exponent >= -kWidePowerRange && exponent <= kWidePowerRange;
}

}  // namespace mpserve
