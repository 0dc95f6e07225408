// UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing past U+10FFFF.
#pragma once

#include <cstdint>
#include <string_view>

namespace mpserve {

// The byte behind the sequence that starts at `at` (at < end); nullptr when it is not valid.
const char* skip_utf8_sequence(const char* at, const char* end) noexcept;

bool is_utf8(std::string_view text) noexcept;

// Writes 1 to 4 bytes for a code point that is no surrogate; gives the place behind them.
char* put_utf8(char* out, std::uint32_t code_point) noexcept;

}  // namespace mpserve
