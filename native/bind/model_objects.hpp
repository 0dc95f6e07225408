// All objects that models see, bound in the order of their dependencies.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

void bind_model_objects(nanobind::module_& m);

}  // namespace mpserve::bind
