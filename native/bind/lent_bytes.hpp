// Bytes that something keeps alive (a borrowed block, a buffer) as a Python buffer: written to a
// socket, or read, without a copy.
#pragma once

#include <memory>

#include <nanobind/nanobind.h>

#include "peer_segments.hpp"

namespace mpserve::bind {

// The block goes back when the last who looks into it is gone.
struct SharedBorrow {
    BorrowedBlock block;
    explicit SharedBorrow(BorrowedBlock borrowed) noexcept : block(std::move(borrowed)) {}
    ~SharedBorrow() { block.give_back(); }
    SharedBorrow(const SharedBorrow&) = delete;
    SharedBorrow& operator=(const SharedBorrow&) = delete;
};

// A read-only memoryview of bytes that hold as long as `keeper` does.
nanobind::object lent_memoryview(std::shared_ptr<void> keeper, const std::byte* data,
                                 std::uint64_t bytes);

void bind_lent_bytes(nanobind::module_& m);

}  // namespace mpserve::bind
