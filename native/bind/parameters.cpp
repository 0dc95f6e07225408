#include "parameters.hpp"

#include <nanobind/stl/string.h>

#include "model_exception.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

std::string type_text(nb::handle value) { return nb::str(value.type()).c_str(); }

bool is_plain(nb::handle value) noexcept {
    return PyLong_Check(value.ptr()) || PyUnicode_Check(value.ptr());  // bool is an int
}

}  // namespace

std::string parameters_to_json(nb::handle parameters) {
    if (parameters.is_none()) return {};
    if (!PyDict_Check(parameters.ptr())) {
        throw ModelException("Expect dict, got " + type_text(parameters));
    }
    const auto entries = nb::borrow<nb::dict>(parameters);
    if (entries.size() == 0) return {};
    for (const auto& [key, value] : entries) {
        if (!PyUnicode_Check(key.ptr())) {
            throw ModelException("Expect parameters keys to have type str, found type " +
                                 type_text(key));
        }
        if (!is_plain(value)) {
            throw ModelException("Expect parameters values to have type bool/int/str, found type " +
                                 type_text(value));
        }
    }
    const nb::object text = nb::module_::import_("json").attr("dumps")(entries);
    return nb::cast<std::string>(text);
}

}  // namespace mpserve::bind
