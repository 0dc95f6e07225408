// The trace a request belongs to, as a model sees it.
//
// `link` is the server's own: what a request that a model makes has to say to belong to the trace.
// Its last line is the context that the model may hand on, if there is one; see
// dispatch/trace_link.py.
#pragma once

#include <optional>
#include <string>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

struct InferenceTrace {
    std::string link;

    std::optional<std::string> context() const;
};

void bind_inference_trace(nanobind::module_& m);

}  // namespace mpserve::bind
