// Text that a model gives: `str`, or what it has read from a BYTES tensor.
//
// Triton's bindings take `bytes` wherever they take text, and public models rely on it: an element
// of `as_numpy()` is used as the name of a model. Only UTF-8 is taken.

#pragma once

#include <nanobind/nanobind.h>

#include <string>

namespace mpserve::bind {

struct ModelText {
    std::string value;
};

}  // namespace mpserve::bind

namespace nanobind::detail {

template <>
struct type_caster<mpserve::bind::ModelText> {
    NB_TYPE_CASTER(mpserve::bind::ModelText, const_name("str | bytes"))

    bool from_python(handle source, std::uint8_t, cleanup_list*) noexcept {
        PyObject* text = nullptr;
        if (PyUnicode_Check(source.ptr())) {
            text = Py_NewRef(source.ptr());
        } else if (PyBytes_Check(source.ptr()) || PyByteArray_Check(source.ptr())) {
            text = PyUnicode_FromEncodedObject(source.ptr(), "utf-8", "strict");
        }
        Py_ssize_t size = 0;
        const char* characters = text != nullptr ? PyUnicode_AsUTF8AndSize(text, &size) : nullptr;
        if (characters != nullptr) {
            value.value.assign(characters, static_cast<std::size_t>(size));
        } else {
            PyErr_Clear();  // overload resolution tells what is taken
        }
        Py_XDECREF(text);
        return characters != nullptr;
    }

    static handle from_cpp(const mpserve::bind::ModelText& text, rv_policy,
                           cleanup_list*) noexcept {
        return PyUnicode_FromStringAndSize(text.value.data(),
                                           static_cast<Py_ssize_t>(text.value.size()));
    }
};

}  // namespace nanobind::detail
