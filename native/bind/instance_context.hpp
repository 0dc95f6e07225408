// What all requests of one model instance have in common. Set once the model is loaded.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "sequence_controls.hpp"
#include "tensor_reshape.hpp"

namespace mpserve::bind {

struct InstanceContext {
    std::string instance_name;
    std::string model_name;
    std::string model_version;
    // Outputs the configuration declares. A request that lists none asks for all of them; an output
    // of another name is dropped.
    std::vector<std::string> output_names;
    // Outputs are not declared: what the runtime returns is sent as it is.
    bool open_outputs = true;
    // Inputs that the server adds to each request of a model with sequences.
    std::vector<SequenceControl> controls;
    // Outputs that the server keeps for the next request of a sequence: each request asks for them,
    // and those that are not declared are dropped after that.
    std::vector<std::string> state_outputs;
    // Shapes that the model gives a client's input, and a client the model's output.
    std::vector<TensorReshape> input_reshapes;
    std::vector<TensorReshape> output_reshapes;
    // What `parameters()` says of a request without any: "{}" for a Triton model.
    std::string absent_parameters;

    bool declares_output(std::string_view name) const noexcept {
        return std::find(output_names.begin(), output_names.end(), name) != output_names.end();
    }
};

void bind_instance_context(nanobind::module_& m);

}  // namespace mpserve::bind
