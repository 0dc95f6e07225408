// Raises an error of `mpserve.errors` by the name of its class.
#pragma once

#include <string>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

[[noreturn]] inline void raise(const char* kind, const std::string& message) {
    const auto exception = nanobind::module_::import_("mpserve.errors").attr(kind);
    PyErr_SetString(exception.ptr(), message.c_str());
    throw nanobind::python_error();
}

}  // namespace mpserve::bind
