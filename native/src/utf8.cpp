#include "mpserve/utf8.hpp"

#include <cstring>

namespace mpserve {

namespace {

bool is_continuation(unsigned char byte) noexcept { return (byte & 0xc0u) == 0x80u; }

}  // namespace

const char* skip_utf8_sequence(const char* at, const char* end) noexcept {
    const auto lead = static_cast<unsigned char>(*at);
    if (lead < 0x80) return at + 1;
    const auto left = end - at;
    const auto byte = [at](int index) { return static_cast<unsigned char>(at[index]); };
    if (lead < 0xc2) return nullptr;  // a continuation, or an overlong two-byte form
    if (lead < 0xe0) return left >= 2 && is_continuation(byte(1)) ? at + 2 : nullptr;
    if (lead < 0xf0) {
        if (left < 3 || !is_continuation(byte(1)) || !is_continuation(byte(2))) return nullptr;
        if (lead == 0xe0 && byte(1) < 0xa0) return nullptr;   // overlong
        if (lead == 0xed && byte(1) >= 0xa0) return nullptr;  // surrogate
        return at + 3;
    }
    if (lead > 0xf4 || left < 4) return nullptr;
    if (!is_continuation(byte(1)) || !is_continuation(byte(2)) || !is_continuation(byte(3))) {
        return nullptr;
    }
    if (lead == 0xf0 && byte(1) < 0x90) return nullptr;   // overlong
    if (lead == 0xf4 && byte(1) >= 0x90) return nullptr;  // past U+10FFFF
    return at + 4;
}

bool is_utf8(std::string_view text) noexcept {
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
        while (end - at >= 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, at, sizeof word);
            if ((word & 0x8080808080808080u) != 0) break;
            at += 8;
        }
        if (at == end) break;
        at = skip_utf8_sequence(at, end);
        if (at == nullptr) return false;
    }
    return true;
}

char* put_utf8(char* out, std::uint32_t code_point) noexcept {
    const auto put = [&out](std::uint32_t byte) {
        *out++ = static_cast<char>(static_cast<unsigned char>(byte));
    };
    const auto put_continuation = [&put](std::uint32_t bits) { put(0x80u | (bits & 0x3fu)); };
    if (code_point < 0x80) {
        put(code_point);
    } else if (code_point < 0x800) {
        put(0xc0u | code_point >> 6);
        put_continuation(code_point);
    } else if (code_point < 0x10000) {
        put(0xe0u | code_point >> 12);
        put_continuation(code_point >> 6);
        put_continuation(code_point);
    } else {
        put(0xf0u | code_point >> 18);
        put_continuation(code_point >> 12);
        put_continuation(code_point >> 6);
        put_continuation(code_point);
    }
    return out;
}

}  // namespace mpserve
