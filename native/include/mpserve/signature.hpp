// What a model version takes and gives, as requests are checked against it before they are queued.
// Mirrors `mpserve.model.signature.Signature`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpserve/datatype.hpp"

namespace mpserve {

struct TensorSpec {
    std::string name;
    Datatype datatype = Datatype::invalid;  // invalid: any datatype is taken
    bool any_shape = false;
    bool optional = false;
    bool ragged = false;
    std::vector<std::int64_t> shape;  // full shape, leading -1 when the model batches; -1: any size
};

struct Signature {
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
    std::int32_t max_batch_size = 0;  // 0: the first dimension is not a batch
    bool open_inputs = false;         // any input name, datatype and shape is taken
    bool open_outputs = false;        // any requested output name is passed on
    bool has_ragged = false;          // some input is
};

}  // namespace mpserve
