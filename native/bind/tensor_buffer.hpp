// Tensors between a model's objects and wire form: the answers and inputs of requests that a model
// makes.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

void bind_tensor_buffer(nanobind::module_& m);

}  // namespace mpserve::bind
