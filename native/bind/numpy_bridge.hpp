// The one place that knows NumPy's C API.
//
// NumPy is imported on first use: frontends and the supervisor load the same module and need none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <nanobind/nanobind.h>

#include "mpserve/datatype.hpp"

namespace mpserve::bind {

// An array on memory that `base` keeps alive.
nanobind::object make_array_view(Datatype datatype, std::span<const std::int64_t> shape,
                                 const std::byte* data, bool read_only, nanobind::handle base);

// An object array of `bytes` from the binary form of BYTES. Throws `ModelException` when the
// binary form does not hold as many elements as the shape says.
nanobind::object make_bytes_array(std::span<const std::int64_t> shape, const std::byte* data,
                                  std::uint64_t data_bytes);

// What a model's array is once it can be put on the wire.
struct WireArray {
    nanobind::object array;  // C-contiguous, native byte order; an object array for BYTES
    Datatype datatype;
    std::span<const std::int64_t> shape;  // of `array`
    const std::byte* data;
    std::uint64_t data_bytes;  // 0 for BYTES
};

// Copies only what is not contiguous, in foreign byte order, or of fixed-width strings. Throws
// `nb::type_error` for what is no array, `ModelException` for a dtype without a datatype.
WireArray to_wire_array(nanobind::handle array, std::string_view tensor_name);

// Size of an object array in the binary form of BYTES. Elements that are neither bytes nor str are
// replaced by their `str`, for which `array` becomes a copy. Throws when one can not be encoded.
std::uint64_t bytes_wire_size(nanobind::object& array);

// Writes the binary form; false when it is not exactly `bytes` long.
bool write_bytes_wire(nanobind::handle array, std::byte* place, std::uint64_t bytes);

}  // namespace mpserve::bind
