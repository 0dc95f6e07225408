#include "inference_trace.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace mpserve::bind {

void bind_inference_trace(nb::module_& m) {
    nb::class_<InferenceTrace>(m, "InferenceTrace", "Trace context of a request.")
        .def(nb::init<>())
        .def("get_context", [](const InferenceTrace& self) { return self.context; });
}

}  // namespace mpserve::bind
