// Anonymous shared memory for tests of structures that processes share.
#pragma once

#include <sys/mman.h>

#include <cstdlib>

#include "mpserve/segment.hpp"

namespace mpserve::check {

// Zeroed, shared with children that are forked later; unmapped at the end.
class SharedMemory {
public:
    explicit SharedMemory(std::uint64_t bytes) : bytes_(bytes) {
        base_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (base_ == MAP_FAILED) std::abort();
    }
    ~SharedMemory() { munmap(base_, bytes_); }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    Segment segment() const noexcept { return {static_cast<std::byte*>(base_), bytes_}; }
    template <typename T>
    T& at(std::uint64_t offset) const noexcept {
        return *segment().at<T>(offset);
    }

private:
    void* base_;
    std::uint64_t bytes_;
};

}  // namespace mpserve::check
