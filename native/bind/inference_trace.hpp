// The trace a request belongs to, as a model sees it: the context that the client sent, if any.
#pragma once

#include <optional>
#include <string>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

struct InferenceTrace {
    std::optional<std::string> context;
};

void bind_inference_trace(nanobind::module_& m);

}  // namespace mpserve::bind
