#include "tensor_buffer.hpp"

#include <string>
#include <utility>
#include <vector>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "model_exception.hpp"
#include "mpserve/checked.hpp"
#include "tensor.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

// Keeps what exports the bytes (a memoryview of an answer's block, say) while a tensor looks into
// them.
class BufferLease final : public RequestLease {
public:
    BufferLease(std::string name, std::vector<std::int64_t> shape, std::string parameters,
                nb::handle data)
        : name_(std::move(name)), parameters_(std::move(parameters)), shape_(std::move(shape)) {
        if (PyObject_GetBuffer(data.ptr(), &bytes_, PyBUF_SIMPLE) != 0) throw nb::python_error();
    }

    TensorView view(Datatype datatype) const noexcept {
        return {.name = name_,
                .parameters = parameters_,
                .datatype = datatype,
                .shape = shape_,
                .region = 0,
                .data_offset = 0,
                .data_bytes = static_cast<std::uint64_t>(bytes_.len),
                .data = static_cast<const std::byte*>(bytes_.buf)};
    }

private:
    ~BufferLease() override { PyBuffer_Release(&bytes_); }
    void on_unused() noexcept override { delete this; }

    std::string name_;
    std::string parameters_;
    std::vector<std::int64_t> shape_;
    Py_buffer bytes_{};
};

void check_size(const TensorView& view) {
    const auto elements = element_count(view.shape);
    bool fits = view.shape.size() <= kMaxRank && elements.has_value();
    if (fits && view.datatype != Datatype::bytes) {
        fits = checked_mul(*elements, item_bytes(view.datatype)) == view.data_bytes;
    }
    if (!fits) {
        throw ModelException("tensor '" + std::string(view.name) +
                             "': its bytes do not fit its shape and datatype");
    }
}

Tensor* tensor_from_buffer(std::string name, const std::string& datatype,
                           std::vector<std::int64_t> shape, nb::handle data,
                           std::string parameters) {
    auto* lease = new BufferLease(std::move(name), std::move(shape), std::move(parameters), data);
    LeaseRef held(lease);
    const auto view = lease->view(datatype_from_name(datatype));
    check_size(view);
    return new Tensor(std::move(held), view);
}

// The elements of a tensor in wire form, where they lie.
struct TensorBytes {
    nb::object tensor;
    const std::byte* data;
    std::uint64_t bytes;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
    const auto* of = nb::inst_ptr<TensorBytes>(self);
    static const std::byte empty{};
    const auto* place = of->bytes == 0 ? &empty : of->data;
    return PyBuffer_FillInfo(view, self, const_cast<std::byte*>(place),
                             static_cast<Py_ssize_t>(of->bytes), 1, flags);
}

PyType_Slot tensor_bytes_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                                    {0, nullptr}};

nb::object tensor_to_buffer(nb::handle_t<Tensor> given) {
    auto& tensor = *nb::inst_ptr<Tensor>(given);
    const auto bytes = tensor.wire_bytes();
    if (tensor.data() != nullptr || bytes == 0) {
        auto of = nb::cast(new TensorBytes{nb::borrow(given), tensor.data(), bytes},
                           nb::rv_policy::take_ownership);
        return nb::steal(PyMemoryView_FromObject(of.ptr()));
    }
    auto written = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes)));
    auto* place = reinterpret_cast<std::byte*>(PyBytes_AsString(written.ptr()));
    if (!tensor.write_wire(place, bytes)) {
        throw ModelException("the tensor changed while it was written");
    }
    return nb::steal(PyMemoryView_FromObject(written.ptr()));
}

}  // namespace

void bind_tensor_buffer(nb::module_& m) {
    nb::class_<TensorBytes>(m, "TensorBytes", nb::type_slots(tensor_bytes_slots),
                            "Read-only bytes of a tensor, which they keep alive.");
    m.def("tensor_from_buffer", &tensor_from_buffer, "name"_a, "datatype"_a, "shape"_a, "data"_a,
          "parameters_json"_a = "", nb::rv_policy::take_ownership,
          "Tensor on bytes in wire form, without a copy; it is read-only.");
    m.def("tensor_to_buffer", &tensor_to_buffer, "tensor"_a,
          nb::sig("def tensor_to_buffer(tensor: Tensor) -> memoryview"),
          "Elements in wire form; without a copy, but for BYTES that a model made.");
}

}  // namespace mpserve::bind
