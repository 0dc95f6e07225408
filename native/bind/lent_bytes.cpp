#include "lent_bytes.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

struct LentBytes {
    std::shared_ptr<void> keeper;
    const std::byte* data;
    std::uint64_t bytes;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
    const auto* lent = nb::inst_ptr<LentBytes>(self);
    return PyBuffer_FillInfo(view, self, const_cast<std::byte*>(lent->data),
                             static_cast<Py_ssize_t>(lent->bytes), 1, flags);
}

PyType_Slot lent_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}, {0, nullptr}};

}  // namespace

nb::object lent_memoryview(std::shared_ptr<void> keeper, const std::byte* data,
                           std::uint64_t bytes) {
    auto lent =
        nb::cast(new LentBytes{std::move(keeper), data, bytes}, nb::rv_policy::take_ownership);
    return nb::steal(PyMemoryView_FromObject(lent.ptr()));
}

void bind_lent_bytes(nb::module_& m) {
    nb::class_<LentBytes>(m, "LentBytes", nb::type_slots(lent_slots),
                          "Read-only bytes of a block that another process owns, or of a buffer.");
}

}  // namespace mpserve::bind
