// Pushes into and pulls from a model queue with a clock of the caller's: for simulations.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

void bind_queue_probe(nanobind::module_& m);

}  // namespace mpserve::bind
