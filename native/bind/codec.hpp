// The codecs of the core as plain functions on bytes, so that tests can compare them with Python's.
// The data path does not come through here.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

void bind_codec(nanobind::module_& m);

}  // namespace mpserve::bind
