// The counts of the wires as Python holds them: a frontend's hand on its area, and the reader's
// look at all of them.
//
// Owner: Python; the dispatcher of a frontend keeps its `TrafficObject` alive.
#pragma once

#include <nanobind/nanobind.h>

#include "mapping.hpp"
#include "mpserve/traffic_board.hpp"

namespace mpserve::bind {

struct TrafficObject {
    MappingRef mapping;
    Traffic traffic;
};

void bind_traffic(nanobind::module_& m);

}  // namespace mpserve::bind
