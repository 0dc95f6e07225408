// One tensor as a model sees it.
//
// Three kinds of memory: a block (an input; read-only), an array that the model made (an output),
// and foreign memory that came by DLPack. A NumPy array of the first and the third kind has the
// Tensor object as its base, so the memory lives as long as the array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <nanobind/nanobind.h>

#include "mpserve/datatype.hpp"
#include "mpserve/message.hpp"
#include "request_lease.hpp"
#include "tensor_reshape.hpp"

namespace mpserve::bind {

class ForeignMemory;  // dlpack_bridge.hpp

class Tensor {
public:
    // An input: looks into the block that `lease` holds.
    Tensor(LeaseRef lease, const TensorView& view) noexcept;
    // The same, for a model that knows it by another shape.
    Tensor(LeaseRef lease, const TensorView& view, const TensorReshape& reshape);
    // An output: `array` is a NumPy array; it is made contiguous, and its dtype decides the
    // datatype.
    Tensor(std::string name, nanobind::handle array, std::string parameters);
    // One that the server adds to a request; `data` is its elements in the binary form.
    Tensor(std::string name, Datatype datatype, std::span<const std::int64_t> shape,
           std::string data);
    // Rows of an output, which stays where it is. `whole` is a Tensor object that looks into an
    // array.
    Tensor(nanobind::object whole, std::int64_t first_row, std::int64_t rows);
    // Memory of another library.
    Tensor(std::string name, std::unique_ptr<ForeignMemory> foreign);

    Tensor(const Tensor&) = delete;
    Tensor& operator=(const Tensor&) = delete;
    ~Tensor();

    std::string_view name() const noexcept { return view_.name; }
    Datatype datatype() const noexcept { return view_.datatype; }
    std::span<const std::int64_t> shape() const noexcept { return view_.shape; }
    std::string_view parameters() const noexcept { return view_.parameters; }  // JSON object text
    // The elements; nullptr for BYTES in an object array.
    const std::byte* data() const noexcept { return view_.data; }
    std::uint64_t data_bytes() const noexcept { return view_.data_bytes; }
    bool is_read_only() const noexcept;

    // `self` is this tensor's Python object: the base of the view.
    nanobind::object as_numpy(nanobind::handle self);

    // Bytes on the wire. Throws when a BYTES element can not be encoded.
    std::uint64_t wire_bytes();
    // Writes `wire_bytes()` bytes; false when it would be another number (a BYTES array that
    // another thread changed in between).
    bool write_wire(std::byte* place, std::uint64_t bytes) const;
    // As `write_wire`, to a client's memory, which no process of ours reads.
    bool stream_wire(std::byte* place, std::uint64_t bytes) const;

private:
    // What an input finds in its block, an output keeps here.
    struct Owned {
        std::string name;
        std::string parameters;
        std::string data;  // of a tensor that the server adds
        std::int64_t shape[kMaxRank];
    };

    LeaseRef lease_;
    TensorView view_{};
    std::unique_ptr<Owned> owned_;
    nanobind::object
        array_;  // made by the model, or the bytes of a BYTES input once they were read
    nanobind::object whole_;  // whose rows these are
    std::unique_ptr<ForeignMemory> foreign_;
};

void bind_tensor(nanobind::module_& m);

}  // namespace mpserve::bind
