// Tensor data ↔ JSON array, straight from and to its place in a message.
//
// Reading takes flat or evenly nested arrays in row-major order; the nesting is not compared with
// the shape, only the number of elements. Writing is always flat.
//
// Guarantees: reading writes exactly `elements` elements (BYTES: at most `capacity` bytes) or
//   declines; FP32 is the float of the parsed double and must be finite; integers are
//   range-checked; BYTES elements become length-prefixed UTF-8.
// Assumes: the text begins at '[' and ends behind the ']' that closes it (`jump_over_array`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "mpserve/byte_buffer.hpp"
#include "mpserve/datatype.hpp"
#include "mpserve/decode_outcome.hpp"
#include "mpserve/message.hpp"

namespace mpserve {

// Fewest bytes of JSON that `elements` elements take; used to refuse a shape before allocating.
constexpr std::uint64_t smallest_json_array(Datatype datatype, std::uint64_t elements) noexcept {
    const std::uint64_t per_element = datatype == Datatype::bytes ? 3 : 2;  // value and comma
    return elements == 0 ? 2 : per_element * elements + 1;
}

// Datatypes of fixed size, but for FP16 and BF16, which JSON cannot carry.
DecodeOutcome read_json_array(std::string_view text, Datatype datatype, std::uint64_t elements,
                              int max_nesting, std::byte* out) noexcept;

// BYTES. `used`: bytes written.
DecodeOutcome read_json_strings(std::string_view text, std::uint64_t elements, int max_nesting,
                                std::byte* out, std::uint64_t capacity,
                                std::uint64_t& used) noexcept;

// Whether `data` is exactly `elements` length-prefixed elements.
bool is_valid_bytes_tensor(const std::byte* data, std::uint64_t bytes,
                           std::uint64_t elements) noexcept;

// How a dialect prints floats that JSON has no number for.
struct FloatForm {
    std::string_view nan;
    std::string_view infinity;
    std::string_view negative_infinity;
    bool half_precision;  // FP16 is printed; otherwise it is refused, as BF16 always is
};
inline constexpr FloatForm kTritonFloats{"NaN", "Infinity", "-Infinity", false};
inline constexpr FloatForm kMlserverFloats{"null", "null", "null", true};

enum class TensorTextOutcome : std::uint8_t { written, half_float, not_utf8, malformed };

// Appends `[...]`; on anything but `written` the buffer holds rubbish behind its old size.
TensorTextOutcome write_json_array(const TensorView& tensor, const FloatForm& form,
                                   ByteBuffer& out);

// Appends the text in quotes, escaped as RapidJSON does it. The text is not checked for UTF-8.
void write_json_string(std::string_view text, ByteBuffer& out);

}  // namespace mpserve
