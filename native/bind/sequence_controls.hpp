// The control inputs of a model with sequences: tensors that the server adds to each request.
//
// Source: Triton's `control_input`: one element for each request, with the batch's dimension in
// front when the model batches; a row without a request has READY false and all others at 0.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <nanobind/nanobind.h>

#include "mpserve/datatype.hpp"
#include "mpserve/message.hpp"

namespace mpserve::bind {

enum class ControlKind : std::uint8_t { start, end, ready, correlation_id };

struct SequenceControl {
    std::string name;
    ControlKind kind;
    Datatype datatype;
    std::uint8_t rank;       // 2 when the model batches
    std::string when_false;  // the element's bytes, but for the correlation id
    std::string when_true;
};

// The tensor of one control as the request of `header` has it; `is_ready` is false for a row that
// has no request.
nanobind::object make_control(const SequenceControl& control, const MessageView& view,
                              bool is_ready);

// From (name, kind, datatype, batches, false value, true value), values as bytes.
SequenceControl read_control(nanobind::handle given);

}  // namespace mpserve::bind
