#include "instance_context.hpp"

#include <memory>

#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

namespace mpserve::bind {

void bind_instance_context(nb::module_& m) {
    nb::class_<InstanceContext>(m, "InstanceContext", "What all requests of one instance share.")
        .def(
            "__init__",
            [](InstanceContext* self, std::string instance_name,
               std::vector<std::string> output_names, bool open_outputs,
               std::string absent_parameters, const nb::list& controls,
               std::vector<std::string> state_outputs, const nb::list& input_reshapes,
               const nb::list& output_reshapes) {
                new (self) InstanceContext();
                self->instance_name = std::move(instance_name);
                self->output_names = std::move(output_names);
                self->open_outputs = open_outputs;
                self->absent_parameters = std::move(absent_parameters);
                self->state_outputs = std::move(state_outputs);
                self->input_reshapes = read_reshapes(input_reshapes);
                self->output_reshapes = read_reshapes(output_reshapes);
                for (const nb::handle control : controls)
                    self->controls.push_back(read_control(control));
            },
            nb::kw_only(), nb::arg("instance_name"), nb::arg("output_names"),
            nb::arg("open_outputs"), nb::arg("absent_parameters"), nb::arg("controls") = nb::list(),
            nb::arg("state_outputs") = std::vector<std::string>(),
            nb::arg("input_reshapes") = nb::list(), nb::arg("output_reshapes") = nb::list())
        .def_ro("instance_name", &InstanceContext::instance_name)
        .def_ro("output_names", &InstanceContext::output_names)
        .def_ro("open_outputs", &InstanceContext::open_outputs);
}

}  // namespace mpserve::bind
