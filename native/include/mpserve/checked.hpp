// Arithmetic that says when it would wrap: sizes and shapes come from clients and other processes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace mpserve {

constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}

// Number of elements of a shape; nothing for a negative dimension or past 2^63-1. Empty shape: 1.
constexpr std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape) noexcept {
    std::uint64_t count = 1;
    for (const auto dimension : shape) {
        if (dimension < 0) return std::nullopt;
        const auto next = checked_mul(count, static_cast<std::uint64_t>(dimension));
        if (!next || *next > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
        count = *next;
    }
    return count;
}

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
    return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace mpserve
