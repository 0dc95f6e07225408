#include "model_exception.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

void raise_unsupported(const std::string& message) {
    const nb::object type = nb::module_::import_("mpserve.errors").attr("Unsupported");
    PyErr_SetString(type.ptr(), message.c_str());
    throw nb::python_error();
}

void bind_model_exception(nb::module_& m) {
    nb::exception<ModelException>(m, "TritonModelException");
}

}  // namespace mpserve::bind
