#include "inference_response.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "model_exception.hpp"
#include "model_text.hpp"
#include "parameters.hpp"
#include "tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr Status kStatuses[] = {
    Status::unknown,     Status::internal,    Status::not_found,      Status::invalid_argument,
    Status::unavailable, Status::unsupported, Status::already_exists, Status::cancelled,
};

// The model may change its list; ours stays.
nb::object copy_of(const nb::list& list) {
    return nb::steal(PyList_GetSlice(list.ptr(), 0, PY_SSIZE_T_MAX));
}

nb::list checked_tensors(nb::handle tensors) {
    nb::list checked;
    for (const nb::handle tensor : tensors) {
        if (tensor.is_none()) {
            throw ModelException("Output tensor for inference response should not be empty.");
        }
        if (!nb::isinstance<Tensor>(tensor)) {
            const std::string text =
                std::string("output_tensors must hold Tensor objects, found type ") +
                nb::str(tensor.type()).c_str();
            throw nb::type_error(text.c_str());
        }
        checked.append(tensor);
    }
    return checked;
}

nb::object checked_error(nb::handle error) {
    if (error.is_none()) return {};
    if (nb::isinstance<TritonError>(error)) return nb::borrow(error);
    const std::string text = std::string("error must be a TritonError or None, found type ") +
                             nb::str(error.type()).c_str();
    throw nb::type_error(text.c_str());
}

nb::object output_tensor_by_name(const InferenceResponse& response, std::string_view name) {
    for (const nb::handle tensor : response.output_tensors()) {
        if (nb::inst_ptr<Tensor>(tensor)->name() == name) return nb::borrow(tensor);
    }
    return nb::none();
}

void bind_triton_error(nb::module_& m) {
    auto error = nb::class_<TritonError>(m, "TritonError", "Why one request failed.");
    nb::enum_<TritonErrorCode>(error, "__ErrorCode", nb::is_arithmetic())
        .value("UNKNOWN", TritonErrorCode::unknown)
        .value("INTERNAL", TritonErrorCode::internal)
        .value("NOT_FOUND", TritonErrorCode::not_found)
        .value("INVALID_ARG", TritonErrorCode::invalid_arg)
        .value("UNAVAILABLE", TritonErrorCode::unavailable)
        .value("UNSUPPORTED", TritonErrorCode::unsupported)
        .value("ALREADY_EXISTS", TritonErrorCode::already_exists)
        .value("CANCELLED", TritonErrorCode::cancelled)
        .export_values();
    error
        .def(
            "__init__",
            [](TritonError* self, ModelText message, TritonErrorCode code) {
                new (self) TritonError{std::move(message.value), code};
            },
            nb::arg("message"), nb::arg("code") = TritonErrorCode::internal)
        .def("code", [](const TritonError& self) { return self.code; })
        .def("message", [](const TritonError& self) { return self.message; });
}

}  // namespace

Status status_of(TritonErrorCode code) noexcept {
    return kStatuses[static_cast<std::uint8_t>(code)];
}

const TritonError* InferenceResponse::error() const noexcept {
    return error_.is_valid() ? nb::inst_ptr<TritonError>(error_) : nullptr;
}

void bind_inference_response(nb::module_& m) {
    bind_triton_error(m);
    nb::class_<InferenceResponse>(m, "InferenceResponse",
                                  "One answer: output tensors, or an error.")
        .def(
            "__init__",
            [](InferenceResponse* self, nb::handle tensors, nb::handle error, nb::handle parameters,
               std::string parameters_json, const nb::bytes& headers) {
                if (parameters_json.empty()) parameters_json = parameters_to_json(parameters);
                new (self) InferenceResponse(checked_tensors(tensors), checked_error(error),
                                             std::move(parameters_json),
                                             std::string(headers.c_str(), headers.size()));
            },
            nb::arg("output_tensors") = nb::make_tuple(), nb::arg("error") = nb::none(),
            nb::arg("parameters") = nb::none(), nb::kw_only(), nb::arg("parameters_json") = "",
            nb::arg("headers") = nb::bytes("", 0),
            "`headers`: name, NUL, value, NUL each, for the head of an answer over HTTP.")
        .def("output_tensors",
             [](const InferenceResponse& self) { return copy_of(self.output_tensors()); })
        .def("has_error", [](const InferenceResponse& self) { return self.error() != nullptr; })
        .def("error",
             [](const InferenceResponse& self) {
                 return self.error() != nullptr ? self.error_object() : nb::none();
             })
        .def("parameters", &InferenceResponse::parameters);
    m.def("get_output_tensor_by_name", &output_tensor_by_name, nb::arg("inference_response"),
          nb::arg("name"));
}

}  // namespace mpserve::bind
