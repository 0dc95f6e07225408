// The policy of a model queue, out of the configuration that Python has read.
#pragma once

#include <nanobind/nanobind.h>

#include "mpserve/queue_policy.hpp"

namespace mpserve::bind {

// A `mpserve.model.config.QueuePolicies`, or None.
QueuePolicy read_policy(nanobind::handle policies);

}  // namespace mpserve::bind
