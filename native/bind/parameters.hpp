// Custom parameters of a request or an answer, as a model gives them: a dict that becomes JSON
// text.
#pragma once

#include <string>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

// JSON object text, or "" for None and an empty dict. Throws `ModelException` with Triton's words
// when a key is no str, or a value no bool, int or str.
std::string parameters_to_json(nanobind::handle parameters);

}  // namespace mpserve::bind
