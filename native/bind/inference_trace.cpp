#include "inference_trace.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace mpserve::bind {

std::optional<std::string> InferenceTrace::context() const {
    const auto at = link.find('\n');
    if (at == std::string::npos || at + 1 == link.size()) return std::nullopt;
    return link.substr(at + 1);
}

void bind_inference_trace(nb::module_& m) {
    nb::class_<InferenceTrace>(m, "InferenceTrace", "Trace context of a request.")
        .def(nb::init<>())
        .def("get_context", &InferenceTrace::context);
    m.def(
        "trace_link", [](const InferenceTrace& trace) { return trace.link; }, nb::arg("trace"),
        "What a request has to say to belong to the trace; \"\" when there is none.");
}

}  // namespace mpserve::bind
