#include "signature.hpp"

#include <algorithm>
#include <utility>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

std::vector<TensorSpec> read_specs(nb::handle items) {
    std::vector<TensorSpec> specs;
    for (nb::handle item : nb::borrow<nb::iterable>(items)) {
        auto& spec = specs.emplace_back();
        spec.name = nb::cast<std::string>(item[0]);
        spec.datatype = static_cast<Datatype>(nb::cast<std::uint8_t>(item[1]));
        spec.any_shape = item[2].is_none();
        if (!spec.any_shape) spec.shape = nb::cast<std::vector<std::int64_t>>(item[2]);
        spec.optional = nb::cast<bool>(item[3]);
        spec.ragged = nb::len(item) > 4 && nb::cast<bool>(item[4]);
    }
    return specs;
}

}  // namespace

Signature read_signature(nb::handle inputs, nb::handle outputs, std::int32_t max_batch_size,
                         bool open_inputs, bool open_outputs) {
    auto read = read_specs(inputs);
    const bool has_ragged = std::ranges::any_of(read, &TensorSpec::ragged);
    return {.inputs = std::move(read),
            .outputs = read_specs(outputs),
            .max_batch_size = max_batch_size,
            .open_inputs = open_inputs,
            .open_outputs = open_outputs,
            .has_ragged = has_ragged};
}

}  // namespace mpserve::bind
