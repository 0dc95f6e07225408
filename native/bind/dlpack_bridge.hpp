// Tensors from and to other array libraries by DLPack. Only memory of the CPU.
// Source: DLPack 1.0, "Python Specification for DLPack" and its C structs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <nanobind/nanobind.h>

#include "mpserve/datatype.hpp"

namespace mpserve::bind {

class Tensor;

// Memory of another library, taken over from its capsule and given back on destruction.
class ForeignMemory {
public:
    // `source` is a capsule, or an object with `__dlpack__`. Throws `ModelException` for memory of
    // a device, a stride that is not C order, or an element type without a datatype.
    static std::unique_ptr<ForeignMemory> take(nanobind::handle source);

    virtual ~ForeignMemory() = default;
    Datatype datatype() const noexcept { return datatype_; }
    std::span<const std::int64_t> shape() const noexcept { return shape_; }
    const std::byte* data() const noexcept { return data_; }
    std::uint64_t data_bytes() const noexcept { return data_bytes_; }
    bool is_read_only() const noexcept { return read_only_; }

protected:
    Datatype datatype_ = Datatype::invalid;
    std::span<const std::int64_t> shape_;
    const std::byte* data_ = nullptr;
    std::uint64_t data_bytes_ = 0;
    bool read_only_ = false;
};

// A capsule that keeps `owner`, the Python object of `tensor`, alive until its consumer is done.
// `versioned` gives the form of DLPack 1.0, which can say that an input is read-only.
nanobind::object export_dlpack(const Tensor& tensor, nanobind::handle owner, bool versioned);

}  // namespace mpserve::bind
