// A shared-memory segment as this process sees it: checked access from offsets to pointers.
//
// Layout: each segment starts with a SegmentHeader; the rest belongs to its kind.
// Guarantees: `at` never yields a pointer outside the mapping or misaligned, whatever the offset.
// Assumes: the mapping outlives the Segment (the Python side keeps it alive).
// Owner: mapping and name belong to `mpserve.shm.segment`; the core only looks at the bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "mpserve/checked.hpp"

namespace mpserve {

inline constexpr std::uint64_t kSegmentMagic = 0x31657672657370'6dULL;  // "mpserve1", little-endian
inline constexpr std::uint32_t kLayoutVersion = 16;

enum class SegmentKind : std::uint32_t {
    board = 1,
    arena = 2,
    ring = 3,
    queue = 4,
    limiter = 5,
    tracing = 6,
    traffic = 7
};

struct SegmentHeader {
    std::uint64_t magic;  // stored last by the creator
    std::uint32_t layout_version;
    std::uint32_t kind;
    std::uint64_t bytes;
    std::uint64_t reserved_[5];
};
static_assert(sizeof(SegmentHeader) == 64);

class Segment {
public:
    Segment() noexcept = default;
    Segment(std::byte* base, std::uint64_t bytes) noexcept : base_(base), bytes_(bytes) {}

    std::byte* base() const noexcept { return base_; }
    std::uint64_t bytes() const noexcept { return bytes_; }
    explicit operator bool() const noexcept { return base_ != nullptr; }

    // Pointer to `count` objects at `offset`, or nullptr when they do not lie inside.
    template <typename T>
    T* at(std::uint64_t offset, std::uint64_t count = 1) const noexcept {
        const auto size = checked_mul(count, sizeof(T));
        if (!size || offset % alignof(T) != 0 || offset > bytes_ || *size > bytes_ - offset) {
            return nullptr;
        }
        return reinterpret_cast<T*>(base_ + offset);
    }

    // Writes the header of a new segment; the magic makes it attachable and comes last.
    void format(SegmentKind kind) const noexcept {
        auto* header = reinterpret_cast<SegmentHeader*>(base_);
        header->layout_version = kLayoutVersion;
        header->kind = static_cast<std::uint32_t>(kind);
        header->bytes = bytes_;
        std::atomic_ref(header->magic).store(kSegmentMagic, std::memory_order_release);
    }

    // The layout version found, 0 when this is no segment of ours of that kind and size.
    std::uint32_t check(SegmentKind kind) const noexcept {
        if (base_ == nullptr || bytes_ < sizeof(SegmentHeader)) return 0;
        auto* header = reinterpret_cast<SegmentHeader*>(base_);
        if (std::atomic_ref(header->magic).load(std::memory_order_acquire) != kSegmentMagic)
            return 0;
        if (header->kind != static_cast<std::uint32_t>(kind) || header->bytes > bytes_) return 0;
        return header->layout_version;
    }

private:
    std::byte* base_ = nullptr;
    std::uint64_t bytes_ = 0;
};

}  // namespace mpserve
