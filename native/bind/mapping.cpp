#include "mapping.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

Mapping::Mapping(nb::object owner) : owner_(std::move(owner)) {
    nb::object exporter = owner_;
    if (!PyObject_CheckBuffer(exporter.ptr())) exporter = owner_.attr("buffer");
    if (PyObject_GetBuffer(exporter.ptr(), &view_, PyBUF_WRITABLE) != 0) throw nb::python_error();
    segment_ = Segment(static_cast<std::byte*>(view_.buf), static_cast<std::uint64_t>(view_.len));
}

Mapping::~Mapping() {
    // Before the owner goes: it can not unmap while a buffer is held.
    PyBuffer_Release(&view_);
}

}  // namespace mpserve::bind
