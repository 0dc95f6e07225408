#include "tensor.hpp"

#include <algorithm>
#include <cstring>

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "dlpack_bridge.hpp"
#include "model_exception.hpp"
#include "model_text.hpp"
#include "mpserve/stream_copy.hpp"
#include "numpy_bridge.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// Copies above this size let other threads of the model run; below, the hand-over costs more.
constexpr std::uint64_t kReleaseGilBytes = 1u << 20;

using Copy = void (*)(std::byte* place, const std::byte* data, std::size_t bytes);

// In a client's shared memory an output may lie on an input that the model gives back as it is.
void move_bytes(std::byte* place, const std::byte* data, std::size_t bytes) noexcept {
    if (bytes != 0) std::memmove(place, data, bytes);
}

void copy_bytes(std::byte* place, const std::byte* data, std::uint64_t bytes, Copy copy) {
    if (bytes < kReleaseGilBytes) return copy(place, data, bytes);
    if (place == data) return;
    nb::gil_scoped_release released;
    copy(place, data, bytes);
}

void check_name(std::string_view name) {
    if (name.empty()) throw ModelException("Tensor name cannot be an empty string.");
}

}  // namespace

Tensor::Tensor(LeaseRef lease, const TensorView& view) noexcept
    : lease_(std::move(lease)), view_(view) {}

Tensor::Tensor(LeaseRef lease, const TensorView& view, const TensorReshape& reshape)
    : lease_(std::move(lease)), view_(view), owned_(std::make_unique<Owned>()) {
    view_.shape = reshape.applied(view.shape, owned_->shape);
}

Tensor::Tensor(std::string name, nb::handle array, std::string parameters)
    : owned_(std::make_unique<Owned>()) {
    check_name(name);
    auto wire = to_wire_array(array, name);
    owned_->name = std::move(name);
    owned_->parameters = std::move(parameters);
    // Copied: assigning to the array's `shape` later would free what NumPy points to.
    std::copy(wire.shape.begin(), wire.shape.end(), owned_->shape);
    array_ = std::move(wire.array);
    view_ = {
        .name = owned_->name,
        .parameters = owned_->parameters,
        .datatype = wire.datatype,
        .shape = {owned_->shape, wire.shape.size()},
        .region = 0,
        .data_offset = 0,
        .data_bytes = wire.data_bytes,
        .data = wire.data,
    };
}

Tensor::Tensor(std::string name, Datatype datatype, std::span<const std::int64_t> shape,
               std::string data)
    : owned_(std::make_unique<Owned>()) {
    owned_->name = std::move(name);
    owned_->data = std::move(data);
    std::copy(shape.begin(), shape.end(), owned_->shape);
    view_ = {
        .name = owned_->name,
        .parameters = {},
        .datatype = datatype,
        .shape = {owned_->shape, shape.size()},
        .region = 0,
        .data_offset = 0,
        .data_bytes = owned_->data.size(),
        .data = reinterpret_cast<const std::byte*>(owned_->data.data()),
    };
}

Tensor::Tensor(nb::object whole, std::int64_t first_row, std::int64_t rows)
    : owned_(std::make_unique<Owned>()), whole_(std::move(whole)) {
    const auto& from = *nb::inst_ptr<Tensor>(whole_);
    view_ = from.view_;
    std::ranges::copy(from.view_.shape, owned_->shape);
    owned_->shape[0] = rows;
    view_.shape = {owned_->shape, from.view_.shape.size()};
    if (from.view_.data == nullptr) {  // texts
        const auto begin = static_cast<Py_ssize_t>(first_row);
        const auto end = begin + static_cast<Py_ssize_t>(rows);
        array_ = nb::steal(PySequence_GetSlice(from.array_.ptr(), begin, end));
        if (!array_.is_valid()) throw nb::python_error();
        return;
    }
    const auto all_rows = static_cast<std::uint64_t>(from.view_.shape[0]);
    const auto row_bytes = all_rows != 0 ? from.view_.data_bytes / all_rows : 0;
    view_.data += static_cast<std::uint64_t>(first_row) * row_bytes;
    view_.data_bytes = static_cast<std::uint64_t>(rows) * row_bytes;
}

Tensor::Tensor(std::string name, std::unique_ptr<ForeignMemory> foreign)
    : owned_(std::make_unique<Owned>()), foreign_(std::move(foreign)) {
    check_name(name);
    owned_->name = std::move(name);
    view_ = {
        .name = owned_->name,
        .parameters = {},
        .datatype = foreign_->datatype(),
        .shape = foreign_->shape(),
        .region = 0,
        .data_offset = 0,
        .data_bytes = foreign_->data_bytes(),
        .data = foreign_->data(),
    };
}

Tensor::~Tensor() = default;

bool Tensor::is_read_only() const noexcept {
    return lease_ || (owned_ && !owned_->data.empty()) ||
           (foreign_ != nullptr && foreign_->is_read_only());
}

nb::object Tensor::as_numpy(nb::handle self) {
    if (array_.is_valid()) return array_;
    if (view_.datatype == Datatype::bf16) {
        throw ModelException(
            "Tensor dtype is BF16 and cannot be converted to NumPy. Use to_dlpack() and "
            "from_dlpack() instead.");
    }
    if (view_.datatype == Datatype::bytes) {
        array_ = make_bytes_array(view_.shape, view_.data, view_.data_bytes);
        return array_;
    }
    // Not kept: the array holds the tensor, so the tensor may not hold the array.
    return make_array_view(view_.datatype, view_.shape, view_.data, is_read_only(), self);
}

std::uint64_t Tensor::wire_bytes() {
    if (view_.data == nullptr && array_.is_valid()) return bytes_wire_size(array_);
    return view_.data_bytes;
}

bool Tensor::write_wire(std::byte* place, std::uint64_t bytes) const {
    if (view_.data == nullptr && array_.is_valid()) return write_bytes_wire(array_, place, bytes);
    if (bytes != view_.data_bytes) return false;
    copy_bytes(place, view_.data, bytes, move_bytes);
    return true;
}

bool Tensor::stream_wire(std::byte* place, std::uint64_t bytes) const {
    if (view_.data == nullptr && array_.is_valid()) return write_bytes_wire(array_, place, bytes);
    if (bytes != view_.data_bytes) return false;
    copy_bytes(place, view_.data, bytes, stream_copy);
    return true;
}

namespace {

nb::list shape_list(const Tensor& tensor) {
    nb::list shape;
    for (const auto dimension : tensor.shape()) shape.append(dimension);
    return shape;
}

// `__dlpack__` of the array API standard; `max_version` is a tuple or None.
nb::object dlpack(nb::pointer_and_handle<Tensor> self, nb::handle stream, nb::handle max_version,
                  nb::handle device, nb::handle copy) {
    (void)stream;  // the CPU has none
    (void)device;
    if (!copy.is_none() && nb::cast<bool>(copy)) {
        PyErr_SetString(PyExc_BufferError, "a tensor can not be exported as a copy");
        throw nb::python_error();
    }
    const bool versioned = !max_version.is_none() && nb::cast<int>(max_version[nb::int_(0)]) >= 1;
    return export_dlpack(*self.p, self.h, versioned);
}

}  // namespace

void bind_tensor(nb::module_& m) {
    nb::class_<Tensor>(m, "Tensor", "One tensor of a request or of a response.")
        .def(
            "__init__",
            [](Tensor* self, ModelText name, nb::handle array, std::string parameters) {
                new (self) Tensor(std::move(name.value), array, std::move(parameters));
            },
            nb::arg("name"), nb::arg("numpy_array"), nb::arg("parameters_json") = "")
        .def("name", &Tensor::name)
        .def(
            "as_numpy",
            [](nb::pointer_and_handle<Tensor> self) { return self.p->as_numpy(self.h); },
            "Elements as an array: a read-only view of an input, an object array of bytes for "
            "BYTES.")
        .def("shape", &shape_list)
        .def("triton_dtype", [](const Tensor& self) { return static_cast<int>(self.datatype()); })
        .def("datatype_name", [](const Tensor& self) { return datatype_name(self.datatype()); })
        .def("parameters_json", &Tensor::parameters)
        .def("is_cpu", [](const Tensor&) { return true; })
        .def("to_dlpack",
             [](nb::pointer_and_handle<Tensor> self) {
                 return export_dlpack(*self.p, self.h, false);
             })
        .def("__dlpack__", &dlpack, nb::arg("stream") = nb::none(),
             nb::arg("max_version") = nb::none(), nb::arg("dl_device") = nb::none(),
             nb::arg("copy") = nb::none())
        .def("__dlpack_device__", [](const Tensor&) { return nb::make_tuple(1, 0); })
        .def_static(
            "from_dlpack",
            [](ModelText name, nb::handle source) {
                return new Tensor(std::move(name.value), ForeignMemory::take(source));
            },
            nb::arg("name"), nb::arg("dlpack_tensor"), nb::rv_policy::take_ownership);
}

}  // namespace mpserve::bind
