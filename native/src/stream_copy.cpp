#include "mpserve/stream_copy.hpp"

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace mpserve {

#if defined(__SSE2__)

namespace {

constexpr std::size_t kLine = 64;

bool overlap(const std::byte* one, const std::byte* other, std::size_t bytes) noexcept {
    const auto first = reinterpret_cast<std::uintptr_t>(one);
    const auto second = reinterpret_cast<std::uintptr_t>(other);
    return first < second ? second - first < bytes : first - second < bytes;
}

// Whole lines, to an aligned place.
void stream_lines(std::byte* to, const std::byte* from, std::size_t lines) noexcept {
    for (; lines > 0; --lines, to += kLine, from += kLine) {
        const auto* source = reinterpret_cast<const __m128i*>(from);
        auto* target = reinterpret_cast<__m128i*>(to);
        const __m128i first = _mm_loadu_si128(source);
        const __m128i second = _mm_loadu_si128(source + 1);
        const __m128i third = _mm_loadu_si128(source + 2);
        const __m128i fourth = _mm_loadu_si128(source + 3);
        _mm_stream_si128(target, first);
        _mm_stream_si128(target + 1, second);
        _mm_stream_si128(target + 2, third);
        _mm_stream_si128(target + 3, fourth);
    }
    _mm_sfence();  // streaming stores are not ordered by a later release store
}

}  // namespace

void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    if (bytes < kStreamedBytes || overlap(to, from, bytes)) {
        if (bytes != 0) std::memmove(to, from, bytes);
        return;
    }
    const auto skew = reinterpret_cast<std::uintptr_t>(to) % kLine;
    const std::size_t head = skew == 0 ? 0 : kLine - skew;
    const std::size_t lines = (bytes - head) / kLine;
    const std::size_t done = head + lines * kLine;
    std::memcpy(to, from, head);
    stream_lines(to + head, from + head, lines);
    std::memcpy(to + done, from + done, bytes - done);
}

#else

void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    if (bytes != 0) std::memmove(to, from, bytes);
}

#endif

}  // namespace mpserve
