// The resources that executions share, as Python holds them.
#pragma once

#include <nanobind/nanobind.h>

#include "mapping.hpp"
#include "mpserve/rate_limiter.hpp"

namespace mpserve::bind {

struct LimiterObject {
    MappingRef mapping;
    RateLimiter limiter;
};

void bind_rate_limiter(nanobind::module_& m);

}  // namespace mpserve::bind
