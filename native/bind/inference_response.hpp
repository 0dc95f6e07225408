// One answer of a model: output tensors, or an error. And the error object itself.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <nanobind/nanobind.h>

#include "mpserve/status.hpp"

namespace mpserve::bind {

// Triton's error codes as models spell them (`TritonError.NOT_FOUND`).
enum class TritonErrorCode : std::uint8_t {
    unknown = 0,
    internal = 1,
    not_found = 2,
    invalid_arg = 3,
    unavailable = 4,
    unsupported = 5,
    already_exists = 6,
    cancelled = 7,
};

Status status_of(TritonErrorCode code) noexcept;

struct TritonError {
    std::string message;
    TritonErrorCode code = TritonErrorCode::internal;
};

class InferenceResponse {
public:
    // `output_tensors` is a list of Tensor objects; `error` a TritonError object or null.
    InferenceResponse(nanobind::list output_tensors, nanobind::object error, std::string parameters,
                      std::string headers)
        : output_tensors_(std::move(output_tensors)),
          error_(std::move(error)),
          parameters_(std::move(parameters)),
          headers_(std::move(headers)) {}

    const nanobind::list& output_tensors() const noexcept { return output_tensors_; }
    const nanobind::object& error_object() const noexcept { return error_; }
    const std::string& parameters() const noexcept { return parameters_; }  // JSON object text
    const std::string& headers() const noexcept { return headers_; }  // name NUL value NUL, each

    // nullptr when the request succeeded.
    const TritonError* error() const noexcept;

private:
    nanobind::list output_tensors_;
    nanobind::object error_;
    std::string parameters_;
    std::string headers_;
};

void bind_inference_response(nanobind::module_& m);

}  // namespace mpserve::bind
