// Name of a block of an arena that is valid in every process: segment number and offset.
#pragma once

#include <cstdint>

namespace mpserve {

// 0 means none. Upper 16 bits: segment number in the owner's arena; lower 48: offset of the
// payload.
using BlockRef = std::uint64_t;

constexpr BlockRef make_block_ref(std::uint32_t segment, std::uint64_t offset) noexcept {
    return (std::uint64_t{segment} << 48) | offset;
}
constexpr std::uint32_t segment_of(BlockRef ref) noexcept {
    return static_cast<std::uint32_t>(ref >> 48);
}
constexpr std::uint64_t offset_of(BlockRef ref) noexcept {
    return ref & ((std::uint64_t{1} << 48) - 1);
}

}  // namespace mpserve
