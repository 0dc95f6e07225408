#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#include "numpy_bridge.hpp"

#include <cstring>
#include <optional>
#include <string>

#include <numpy/arrayobject.h>

#include "model_exception.hpp"
#include "mpserve/message.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

static_assert(sizeof(npy_intp) == sizeof(std::int64_t), "shapes are passed on without a copy");

void need_numpy() {
    if (PyArray_API == nullptr && _import_array() < 0) throw nb::python_error();
}

const npy_intp* dimensions(std::span<const std::int64_t> shape) noexcept {
    return reinterpret_cast<const npy_intp*>(shape.data());
}

PyArrayObject* as_array(nb::handle array) noexcept {
    return reinterpret_cast<PyArrayObject*>(array.ptr());
}

nb::object steal_or_throw(PyObject* result) {
    if (result == nullptr) throw nb::python_error();
    return nb::steal(result);
}

// NPY_NOTYPE for a datatype that NumPy does not have.
int type_number(Datatype datatype) noexcept {
    constexpr int kNumbers[kDatatypeCount] = {
        NPY_NOTYPE, NPY_BOOL,  NPY_UINT8, NPY_UINT16, NPY_UINT32, NPY_UINT64, NPY_INT8,  NPY_INT16,
        NPY_INT32,  NPY_INT64, NPY_HALF,  NPY_FLOAT,  NPY_DOUBLE, NPY_OBJECT, NPY_NOTYPE};
    return kNumbers[static_cast<std::uint8_t>(datatype)];
}

// `invalid` for a dtype that has no datatype. By kind and size, because several type numbers mean
// the same thing (`long` and `long long`).
Datatype datatype_of(PyArrayObject* array) noexcept {
    const auto size = PyArray_ITEMSIZE(array);
    const auto sized = [size](Datatype one, Datatype two, Datatype four, Datatype eight) {
        switch (size) {
            case 1: return one;
            case 2: return two;
            case 4: return four;
            case 8: return eight;
            default: return Datatype::invalid;
        }
    };
    switch (PyArray_DESCR(array)->kind) {
        case 'b': return Datatype::boolean;
        case 'u':
            return sized(Datatype::uint8, Datatype::uint16, Datatype::uint32, Datatype::uint64);
        case 'i': return sized(Datatype::int8, Datatype::int16, Datatype::int32, Datatype::int64);
        case 'f': return sized(Datatype::invalid, Datatype::fp16, Datatype::fp32, Datatype::fp64);
        case 'O':
        case 'S':
        case 'U': return Datatype::bytes;
        default: return Datatype::invalid;
    }
}

// The bytes of one element of an object array; nothing (and a Python error) when it can not be
// encoded. A str keeps its encoded form, so that the second call allocates nothing.
std::optional<std::string_view> element_bytes(PyObject* element) noexcept {
    if (PyBytes_Check(element)) {
        return std::string_view(PyBytes_AS_STRING(element),
                                static_cast<std::size_t>(PyBytes_GET_SIZE(element)));
    }
    Py_ssize_t length = 0;
    const char* text = PyUnicode_AsUTF8AndSize(element, &length);
    if (text == nullptr) return std::nullopt;
    return std::string_view(text, static_cast<std::size_t>(length));
}

bool is_encodable(PyObject* element) noexcept {
    return element != nullptr && (PyBytes_Check(element) || PyUnicode_Check(element));
}

std::span<PyObject*> elements_of(nb::handle array) noexcept {
    return {static_cast<PyObject**>(PyArray_DATA(as_array(array))),
            static_cast<std::size_t>(PyArray_SIZE(as_array(array)))};
}

// A copy of an object array whose elements are bytes or str.
nb::object stringified(nb::handle array) {
    nb::object copy = steal_or_throw(PyArray_NewCopy(as_array(array), NPY_CORDER));
    for (auto& slot : elements_of(copy)) {
        if (is_encodable(slot)) continue;
        nb::object text = steal_or_throw(PyObject_Str(slot == nullptr ? Py_None : slot));
        Py_XSETREF(slot, text.release().ptr());
    }
    return copy;
}

// Takes the first element off a binary form; nothing when it is cut off.
std::optional<std::string_view> take_element(std::string_view& rest) noexcept {
    std::uint32_t length = 0;
    if (rest.size() < sizeof length) return std::nullopt;
    std::memcpy(&length, rest.data(), sizeof length);
    rest.remove_prefix(sizeof length);
    if (rest.size() < length) return std::nullopt;
    const auto content = rest.substr(0, length);
    rest.remove_prefix(length);
    return content;
}

ModelException wrong_element_count(std::size_t expected) {
    return ModelException("BYTES tensor does not hold the " + std::to_string(expected) +
                          " elements of its shape");
}

std::uint64_t binary_size(std::span<PyObject*> elements) {
    std::uint64_t total = 0;
    for (auto* element : elements) {
        const auto content = element_bytes(element);
        if (!content) throw nb::python_error();
        if (content->size() > UINT32_MAX) {
            throw ModelException("a BYTES element has " + std::to_string(content->size()) +
                                 " bytes; at most 4294967295 are possible");
        }
        total += sizeof(std::uint32_t) + content->size();
    }
    return total;
}

}  // namespace

nb::object make_array_view(Datatype datatype, std::span<const std::int64_t> shape,
                           const std::byte* data, bool read_only, nb::handle base) {
    need_numpy();
    auto* descriptor = PyArray_DescrFromType(type_number(datatype));
    if (descriptor == nullptr) throw nb::python_error();
    const int flags = NPY_ARRAY_CARRAY_RO | (read_only ? 0 : NPY_ARRAY_WRITEABLE);
    nb::object array = steal_or_throw(PyArray_NewFromDescr(
        &PyArray_Type, descriptor, static_cast<int>(shape.size()), dimensions(shape), nullptr,
        const_cast<std::byte*>(data), flags, nullptr));
    if (PyArray_SetBaseObject(as_array(array), base.inc_ref().ptr()) < 0) throw nb::python_error();
    return array;
}

nb::object make_bytes_array(std::span<const std::int64_t> shape, const std::byte* data,
                            std::uint64_t data_bytes) {
    need_numpy();
    nb::object array = steal_or_throw(
        PyArray_SimpleNew(static_cast<int>(shape.size()), dimensions(shape), NPY_OBJECT));
    std::string_view rest(reinterpret_cast<const char*>(data), data_bytes);
    const auto elements = elements_of(array);
    for (auto& slot : elements) {
        const auto content = take_element(rest);
        if (!content) throw wrong_element_count(elements.size());
        auto* element =
            PyBytes_FromStringAndSize(content->data(), static_cast<Py_ssize_t>(content->size()));
        if (element == nullptr) throw nb::python_error();
        Py_XSETREF(slot, element);
    }
    if (!rest.empty()) throw wrong_element_count(elements.size());
    return array;
}

WireArray to_wire_array(nb::handle array, std::string_view tensor_name) {
    need_numpy();
    if (!PyArray_Check(array.ptr())) {
        const std::string text = "Tensor '" + std::string(tensor_name) +
                                 "': expected a numpy.ndarray, got " +
                                 nb::str(array.type()).c_str();
        throw nb::type_error(text.c_str());
    }
    const auto datatype = datatype_of(as_array(array));
    if (datatype == Datatype::invalid) {
        throw ModelException(
            "Tensor '" + std::string(tensor_name) + "': NumPy dtype '" +
            nb::str(nb::handle(reinterpret_cast<PyObject*>(PyArray_DESCR(as_array(array)))))
                .c_str() +
            "' has no Triton datatype; use bool, (u)int8 to 64, float16 to 64, str or object");
    }
    const int number = datatype == Datatype::bytes ? int{NPY_OBJECT} : type_number(datatype);
    WireArray wire{.array = nb::borrow(array),
                   .datatype = datatype,
                   .shape = {},
                   .data = nullptr,
                   .data_bytes = 0};
    if (!PyArray_ISCARRAY_RO(as_array(array)) || PyArray_TYPE(as_array(array)) != number) {
        wire.array = steal_or_throw(
            PyArray_FROM_OTF(array.ptr(), number, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_NOTSWAPPED));
    }
    auto* contiguous = as_array(wire.array);
    if (PyArray_NDIM(contiguous) > static_cast<int>(kMaxRank)) {
        throw ModelException("Tensor '" + std::string(tensor_name) + "' has " +
                             std::to_string(PyArray_NDIM(contiguous)) + " dimensions; at most " +
                             std::to_string(kMaxRank) + " are possible");
    }
    wire.shape = {reinterpret_cast<const std::int64_t*>(PyArray_DIMS(contiguous)),
                  static_cast<std::size_t>(PyArray_NDIM(contiguous))};
    if (datatype != Datatype::bytes) {
        wire.data = static_cast<const std::byte*>(PyArray_DATA(contiguous));
        wire.data_bytes = static_cast<std::uint64_t>(PyArray_NBYTES(contiguous));
    }
    return wire;
}

std::uint64_t bytes_wire_size(nb::object& array) {
    for (auto* element : elements_of(array)) {
        if (is_encodable(element)) continue;
        array = stringified(array);
        break;
    }
    return binary_size(elements_of(array));
}

bool write_bytes_wire(nb::handle array, std::byte* place, std::uint64_t bytes) {
    std::uint64_t at = 0;
    for (auto* element : elements_of(array)) {
        const auto content = is_encodable(element) ? element_bytes(element) : std::nullopt;
        if (!content) {
            PyErr_Clear();
            return false;
        }
        if (content->size() > UINT32_MAX || bytes - at < sizeof(std::uint32_t) ||
            bytes - at - sizeof(std::uint32_t) < content->size()) {
            return false;
        }
        const auto length = static_cast<std::uint32_t>(content->size());
        std::memcpy(place + at, &length, sizeof length);
        if (length != 0) std::memcpy(place + at + sizeof length, content->data(), length);
        at += sizeof length + length;
    }
    return at == bytes;
}

}  // namespace mpserve::bind
