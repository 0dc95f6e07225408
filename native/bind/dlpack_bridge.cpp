#include "dlpack_bridge.hpp"

#include <string>
#include <vector>

#include "model_exception.hpp"
#include "mpserve/checked.hpp"
#include "mpserve/message.hpp"
#include "tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// --- the standard's structs
// -----------------------------------------------------------------------

struct DeviceRecord {
    std::int32_t device_type;
    std::int32_t device_id;
};

struct ElementRecord {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct TensorStruct {
    void* data;
    DeviceRecord device;
    std::int32_t ndim;
    ElementRecord dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; nullptr: C order
    std::uint64_t byte_offset;
};

struct Managed {
    static constexpr const char* kName = "dltensor";
    static constexpr const char* kUsedName = "used_dltensor";

    TensorStruct tensor;
    void* manager;
    void (*deleter)(Managed*);
};

struct VersionedManaged {
    static constexpr const char* kName = "dltensor_versioned";
    static constexpr const char* kUsedName = "used_dltensor_versioned";

    std::uint32_t major;
    std::uint32_t minor;
    void* manager;
    void (*deleter)(VersionedManaged*);
    std::uint64_t flags;
    TensorStruct tensor;
};

constexpr std::int32_t kCpu = 1;
constexpr std::int32_t kPinnedByCuda = 3;
constexpr std::uint64_t kReadOnlyFlag = 1;
constexpr std::uint32_t kMajor = 1;

// --- element types
// --------------------------------------------------------------------------------

struct ElementRow {
    Datatype datatype;
    ElementRecord element;
};

constexpr std::uint8_t kSigned = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kBool = 6;
constexpr ElementRow kElements[] = {
    {Datatype::boolean, {kBool, 8, 1}},     {Datatype::uint8, {kUnsigned, 8, 1}},
    {Datatype::uint16, {kUnsigned, 16, 1}}, {Datatype::uint32, {kUnsigned, 32, 1}},
    {Datatype::uint64, {kUnsigned, 64, 1}}, {Datatype::int8, {kSigned, 8, 1}},
    {Datatype::int16, {kSigned, 16, 1}},    {Datatype::int32, {kSigned, 32, 1}},
    {Datatype::int64, {kSigned, 64, 1}},    {Datatype::fp16, {kFloat, 16, 1}},
    {Datatype::fp32, {kFloat, 32, 1}},      {Datatype::fp64, {kFloat, 64, 1}},
    {Datatype::bf16, {kBfloat, 16, 1}},
};

Datatype datatype_of(const ElementRecord& element) {
    for (const auto& row : kElements) {
        if (row.element.code == element.code && row.element.bits == element.bits &&
            element.lanes == 1) {
            return row.datatype;
        }
    }
    throw ModelException("DLPack element type (code " + std::to_string(element.code) + ", " +
                         std::to_string(element.bits) + " bits, " + std::to_string(element.lanes) +
                         " lanes) has no Triton datatype");
}

ElementRecord element_of(Datatype datatype) {
    for (const auto& row : kElements) {
        if (row.datatype == datatype) return row.element;
    }
    throw ModelException("DLPack does not have support for string tensors.");
}

// --- taking
// ---------------------------------------------------------------------------------------

bool is_c_order(const TensorStruct& tensor, std::span<const std::int64_t> shape) noexcept {
    if (tensor.strides == nullptr) return true;
    std::int64_t expected = 1;
    for (auto axis = shape.size(); axis-- > 0;) {
        if (shape[axis] != 1 && tensor.strides[axis] != expected) return false;
        expected *= shape[axis];
    }
    return true;
}

template <class Capsule>
class TakenMemory final : public ForeignMemory {
public:
    // Takes over what the capsule holds: from here on it is ours to delete.
    explicit TakenMemory(nb::handle capsule, Capsule* managed) : managed_(managed) {
        PyCapsule_SetName(capsule.ptr(), Capsule::kUsedName);
        PyCapsule_SetDestructor(capsule.ptr(), nullptr);
    }
    ~TakenMemory() override {
        if (managed_->deleter != nullptr) managed_->deleter(managed_);
    }

    void look_into(bool read_only) {
        const auto& tensor = managed_->tensor;
        if (tensor.device.device_type != kCpu && tensor.device.device_type != kPinnedByCuda) {
            throw ModelException("DLPack tensor lies on a device (type " +
                                 std::to_string(tensor.device.device_type) +
                                 "); copy it to the CPU first.");
        }
        if (tensor.ndim < 0 || tensor.ndim > static_cast<std::int32_t>(kMaxRank)) {
            throw ModelException("DLPack tensor has " + std::to_string(tensor.ndim) +
                                 " dimensions; at most " + std::to_string(kMaxRank) +
                                 " are possible");
        }
        datatype_ = datatype_of(tensor.dtype);
        shape_ = {tensor.shape, static_cast<std::size_t>(tensor.ndim)};
        const auto elements = element_count(shape_);
        const auto bytes = elements ? checked_mul(*elements, item_bytes(datatype_)) : std::nullopt;
        if (!bytes)
            throw ModelException("DLPack tensor has a dimension that is negative or too large.");
        if (*elements != 0 && !is_c_order(tensor, shape_)) {
            throw ModelException(
                "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored "
                "in "
                "C-Order are supported.");
        }
        data_bytes_ = *bytes;
        data_ = static_cast<const std::byte*>(tensor.data) + tensor.byte_offset;
        read_only_ = read_only;
    }

private:
    Capsule* managed_;
};

template <class Capsule>
Capsule* content_of(nb::handle capsule) {
    auto* managed = static_cast<Capsule*>(PyCapsule_GetPointer(capsule.ptr(), Capsule::kName));
    if (managed == nullptr) throw nb::python_error();
    return managed;
}

std::unique_ptr<ForeignMemory> take_versioned(nb::handle capsule) {
    auto* managed = content_of<VersionedManaged>(capsule);
    if (managed->major != kMajor) {
        throw ModelException("DLPack version " + std::to_string(managed->major) +
                             " is not understood; version 1 is");
    }
    auto memory = std::make_unique<TakenMemory<VersionedManaged>>(capsule, managed);
    memory->look_into((managed->flags & kReadOnlyFlag) != 0);
    return memory;
}

std::unique_ptr<ForeignMemory> take_unversioned(nb::handle capsule) {
    auto memory = std::make_unique<TakenMemory<Managed>>(capsule, content_of<Managed>(capsule));
    memory->look_into(false);
    return memory;
}

// Asks for the form of DLPack 1.0 first: only it may carry read-only memory.
nb::object capsule_of(nb::handle source) {
    if (PyCapsule_CheckExact(source.ptr())) return nb::borrow(source);
    const nb::object method = source.attr("__dlpack__");
    try {
        return method(nb::arg("max_version") = nb::make_tuple(kMajor, 0));
    } catch (nb::python_error& error) {
        if (!error.matches(PyExc_TypeError)) throw;
    }
    return method();
}

// --- giving
// ---------------------------------------------------------------------------------------

template <class Capsule>
struct Exported {
    Capsule managed{};
    std::vector<std::int64_t> shape;
    PyObject* owner = nullptr;
};

// Consumers may call this from any thread.
template <class Capsule>
void release_exported(Capsule* managed) {
    auto* exported = static_cast<Exported<Capsule>*>(managed->manager);
    if (Py_IsInitialized() != 0) {
        const PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF(exported->owner);
        PyGILState_Release(state);
    }
    delete exported;
}

// A capsule that no consumer took is dropped with its content.
template <class Capsule>
void drop_capsule(PyObject* capsule) {
    if (PyCapsule_IsValid(capsule, Capsule::kName) == 0) return;
    auto* managed = static_cast<Capsule*>(PyCapsule_GetPointer(capsule, Capsule::kName));
    managed->deleter(managed);
}

template <class Capsule>
nb::object export_as(const Tensor& tensor, nb::handle owner) {
    auto exported = std::make_unique<Exported<Capsule>>();
    exported->shape.assign(tensor.shape().begin(), tensor.shape().end());
    auto& managed = exported->managed;
    managed.tensor = {
        .data = const_cast<std::byte*>(tensor.data()),
        .device = {kCpu, 0},
        .ndim = static_cast<std::int32_t>(exported->shape.size()),
        .dtype = element_of(tensor.datatype()),
        .shape = exported->shape.data(),
        .strides = nullptr,
        .byte_offset = 0,
    };
    if constexpr (std::is_same_v<Capsule, VersionedManaged>) {
        managed.major = kMajor;
        managed.flags = tensor.is_read_only() ? kReadOnlyFlag : 0;
    }
    managed.manager = exported.get();
    managed.deleter = &release_exported<Capsule>;
    auto* capsule = PyCapsule_New(&managed, Capsule::kName, &drop_capsule<Capsule>);
    if (capsule == nullptr) throw nb::python_error();
    exported->owner = owner.inc_ref().ptr();
    exported.release();  // the capsule's, or its consumer's
    return nb::steal(capsule);
}

}  // namespace

std::unique_ptr<ForeignMemory> ForeignMemory::take(nb::handle source) {
    const nb::object capsule = capsule_of(source);
    if (PyCapsule_IsValid(capsule.ptr(), VersionedManaged::kName) != 0) {
        return take_versioned(capsule);
    }
    return take_unversioned(capsule);
}

nb::object export_dlpack(const Tensor& tensor, nb::handle owner, bool versioned) {
    if (versioned) return export_as<VersionedManaged>(tensor, owner);
    return export_as<Managed>(tensor, owner);
}

}  // namespace mpserve::bind
