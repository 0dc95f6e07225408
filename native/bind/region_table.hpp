// A frontend's table of regions for its wires and for Python, and what keeps regions for a request.
#pragma once

#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

#include "mpserve/region_table.hpp"

namespace mpserve::bind {

struct RegionTableObject {
    explicit RegionTableObject(nanobind::object callback) : on_free(std::move(callback)) {}

    RegionTable table;
    nanobind::object on_free;  // called when a region that was withdrawn is not used any more
};

// Keeps regions from being let go of while it lives.
class RegionHold {
public:
    RegionHold() noexcept = default;
    // Of the table that `owner` is.
    RegionHold(nanobind::object owner, std::vector<std::uint64_t> ids);
    RegionHold(RegionHold&& other) noexcept
        : owner_(std::move(other.owner_)), ids_(std::move(other.ids_)) {
        other.ids_.clear();
    }
    RegionHold& operator=(RegionHold&& other) noexcept {
        std::swap(owner_, other.owner_);
        ids_.swap(other.ids_);
        return *this;
    }
    ~RegionHold();

private:
    nanobind::object owner_;
    std::vector<std::uint64_t> ids_;
};

void bind_region_table(nanobind::module_& m);

}  // namespace mpserve::bind
