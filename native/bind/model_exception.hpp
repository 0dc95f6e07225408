// Errors of the objects that models see.
#pragma once

#include <stdexcept>
#include <string>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

// Becomes `TritonModelException` in Python: the one exception class of Triton's Python backend.
class ModelException : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Raises `mpserve.errors.Unsupported`.
[[noreturn]] void raise_unsupported(const std::string& message);

void bind_model_exception(nanobind::module_& m);

}  // namespace mpserve::bind
