// A structure in shared memory as an object that keeps its mapping.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <nanobind/nanobind.h>

#include "mapping.hpp"
#include "mpserve/segment.hpp"

namespace mpserve::bind {

[[noreturn]] inline void refuse_layout(const char* what, std::uint32_t found) {
    throw nanobind::value_error((std::string(what) + ": layout version " + std::to_string(found) +
                                 " was found, " + std::to_string(kLayoutVersion) + " is needed")
                                    .c_str());
}

template <typename Object, typename Attach>
std::unique_ptr<Object> attach_object(nanobind::object buffer, SegmentKind kind, const char* what,
                                      Attach attach) {
    auto object = std::make_unique<Object>();
    object->mapping = std::make_shared<Mapping>(std::move(buffer));
    const auto& segment = object->mapping->segment();
    const auto found = segment.check(kind);
    if (found != kLayoutVersion || !attach(*object, segment)) refuse_layout(what, found);
    return object;
}

}  // namespace mpserve::bind
