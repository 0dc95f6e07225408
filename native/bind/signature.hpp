// A model's signature as Python gives it.
#pragma once

#include <cstdint>

#include <nanobind/nanobind.h>

#include "mpserve/signature.hpp"

namespace mpserve::bind {

// `inputs` and `outputs`: (name, datatype number or 0 for any, shape or None for any, optional).
Signature read_signature(nanobind::handle inputs, nanobind::handle outputs,
                         std::int32_t max_batch_size, bool open_inputs, bool open_outputs);

}  // namespace mpserve::bind
