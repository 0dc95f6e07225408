// How a tensor that clients know by one shape is known to the model by another
// (`reshape` of an input or output in a configuration).
//
// A shape that does not fit `from` is left as it is: what is wrong with it is told by others.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "mpserve/message.hpp"

namespace mpserve::bind {

// At most `kMaxRank` sizes; -1 is any size, and those of `from` and `to` are equal in their order.
struct TensorReshape {
    std::string name;
    std::vector<std::int64_t> from;
    std::vector<std::int64_t> to;

    // The shape in place of `shape`; lies in `place`, or is `shape` itself where that does not fit.
    std::span<const std::int64_t> applied(std::span<const std::int64_t> shape,
                                          std::int64_t (&place)[kMaxRank]) const noexcept;
};

// The one of this name; nullptr for none.
const TensorReshape* find_reshape(const std::vector<TensorReshape>& reshapes,
                                  std::string_view name) noexcept;

// From a list of (name, from, to); throws `nb::value_error` for what is too long or does not pair.
std::vector<TensorReshape> read_reshapes(const nanobind::list& given);

}  // namespace mpserve::bind
