// What a batch costs that is computed with one call: which of its requests may be put together, and
// the answer to each out of the answer to all.
#pragma once

#include <nanobind/nanobind.h>

#include "inference_request.hpp"

namespace mpserve::bind {

// Bytes that are equal for requests which differ in nothing but their rows; None for a request that
// has no rows of its own.
nanobind::object likeness(InferenceRequest& request);

void bind_stacking(nanobind::module_& m);

}  // namespace mpserve::bind
