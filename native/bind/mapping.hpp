// A Python object whose buffer is mapped shared memory, kept mapped while anybody looks into it.
//
// Guarantees: the bytes stay mapped while a `MappingRef` to them lives.
// Assumes: the GIL is held where a mapping is made or dropped.
// Owner: the objects that look into the segment share it.
#pragma once

#include <memory>
#include <stdexcept>

#include <nanobind/nanobind.h>

#include "mpserve/segment.hpp"

namespace mpserve::bind {

class Mapping {
public:
    // `owner` has the buffer protocol, or a `buffer` attribute that has
    // (mpserve.shm.segment.Segment).
    explicit Mapping(nanobind::object owner);
    ~Mapping();
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    const Segment& segment() const noexcept { return segment_; }

private:
    nanobind::object owner_;
    Py_buffer view_{};
    Segment segment_;
};

using MappingRef = std::shared_ptr<Mapping>;

}  // namespace mpserve::bind
