// Requests and answers in blocks of the heap; see loopback.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

void bind_loopback(nanobind::module_& m);

}  // namespace mpserve::bind
