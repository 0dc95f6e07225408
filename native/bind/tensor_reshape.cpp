#include "tensor_reshape.hpp"

#include <algorithm>
#include <utility>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::int64_t kAnySize = -1;

bool fits(std::span<const std::int64_t> shape, const std::vector<std::int64_t>& wanted) noexcept {
    return std::equal(
        shape.begin(), shape.end(), wanted.begin(), wanted.end(),
        [](std::int64_t size, std::int64_t want) { return want == kAnySize || want == size; });
}

std::ptrdiff_t free_sizes(const std::vector<std::int64_t>& shape) noexcept {
    return std::count(shape.begin(), shape.end(), kAnySize);
}

}  // namespace

std::span<const std::int64_t> TensorReshape::applied(
    std::span<const std::int64_t> shape, std::int64_t (&place)[kMaxRank]) const noexcept {
    if (!fits(shape, from)) return shape;
    std::size_t next = 0;  // in `from`
    for (std::size_t index = 0; index < to.size(); ++index) {
        place[index] = to[index];
        if (to[index] != kAnySize) continue;
        while (from[next] != kAnySize) ++next;
        place[index] = shape[next++];
    }
    return {place, to.size()};
}

const TensorReshape* find_reshape(const std::vector<TensorReshape>& reshapes,
                                  std::string_view name) noexcept {
    for (const auto& reshape : reshapes) {
        if (reshape.name == name) return &reshape;
    }
    return nullptr;
}

std::vector<TensorReshape> read_reshapes(const nb::list& given) {
    std::vector<TensorReshape> reshapes;
    for (const nb::handle one : given) {
        TensorReshape reshape{nb::cast<std::string>(one[0]),
                              nb::cast<std::vector<std::int64_t>>(one[1]),
                              nb::cast<std::vector<std::int64_t>>(one[2])};
        if (reshape.from.size() > kMaxRank || reshape.to.size() > kMaxRank) {
            throw nb::value_error("a reshape has too many dimensions");
        }
        if (free_sizes(reshape.from) != free_sizes(reshape.to)) {
            throw nb::value_error("the free dimensions of a reshape do not pair");
        }
        reshapes.push_back(std::move(reshape));
    }
    return reshapes;
}

}  // namespace mpserve::bind
