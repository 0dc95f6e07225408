// What a client is told of a request that was lost with the worker process that held it.
#pragma once

#include <string>
#include <string_view>

#include "mpserve/completion_ring.hpp"

namespace mpserve::bind {

// "" when the completion is of another kind.
std::string loss_text(const Completion& completion, std::string_view model_name);

}  // namespace mpserve::bind
