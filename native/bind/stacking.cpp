#include "stacking.hpp"

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "inference_response.hpp"
#include "tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

void append_number(std::string& text, std::uint64_t number) {
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    text.append(bytes, sizeof bytes);
}

// With its length, so that no two lists of texts look the same.
void append_text(std::string& text, std::string_view part) {
    append_number(text, part.size());
    text.append(part);
}

void append_tensor(std::string& text, const Tensor& tensor) {
    append_text(text, tensor.name());
    append_text(text, tensor.parameters());
    append_number(text, static_cast<std::uint64_t>(tensor.datatype()));
    append_number(text, tensor.shape().size());
    for (const auto dimension : tensor.shape().subspan(1)) {
        append_number(text, static_cast<std::uint64_t>(dimension));
    }
}

nb::object make_part(nb::handle whole, std::int64_t first_row, std::int64_t rows) {
    nb::object instance = nb::inst_alloc(nb::type<Tensor>());
    new (nb::inst_ptr<Tensor>(instance)) Tensor(nb::borrow(whole), first_row, rows);
    nb::inst_mark_ready(instance);
    return instance;
}

nb::object make_response(nb::list tensors, const std::string& parameters,
                         const std::string& headers) {
    nb::object instance = nb::inst_alloc(nb::type<InferenceResponse>());
    new (nb::inst_ptr<InferenceResponse>(instance))
        InferenceResponse(std::move(tensors), {}, parameters, headers);
    nb::inst_mark_ready(instance);
    return instance;
}

bool have_rows(const nb::list& tensors, std::int64_t rows) {
    for (const nb::handle tensor : tensors) {
        const auto shape = nb::cast<const Tensor&>(tensor).shape();
        if (shape.empty() || shape[0] != rows) return false;
    }
    return true;
}

// None where an output has not one row for each.
nb::object answers_of_rows(const nb::list& tensors, const std::vector<std::int64_t>& rows,
                           const std::string& parameters, const nb::bytes& headers) {
    std::int64_t all_rows = 0;
    for (const auto count : rows) all_rows += count;
    if (!have_rows(tensors, all_rows)) return nb::none();
    const std::string pairs(headers.c_str(), headers.size());
    nb::list answers;
    std::int64_t first_row = 0;
    for (const auto count : rows) {
        nb::list parts;
        for (const nb::handle whole : tensors) parts.append(make_part(whole, first_row, count));
        answers.append(make_response(std::move(parts), parameters, pairs));
        first_row += count;
    }
    return answers;
}

}  // namespace

nb::object likeness(InferenceRequest& request) {
    const auto* view = request.view();
    if (view == nullptr || (view->header().flags & kHandlerCall) != 0) return nb::none();
    const auto inputs = request.inputs();
    if (nb::len(inputs) == 0) return nb::none();
    std::string text;
    text.reserve(256);
    append_text(text, request.parameters());
    append_number(text, view->output_count());
    for (std::uint32_t index = 0; index < view->output_count(); ++index) {
        const auto output = view->output(index);
        append_text(text, output.name);
        append_text(text, output.parameters);
    }
    std::int64_t rows = -1;
    for (const nb::handle input : inputs) {
        const auto& tensor = *nb::inst_ptr<Tensor>(input);
        if (tensor.shape().empty()) return nb::none();
        if (rows >= 0 && tensor.shape()[0] != rows) return nb::none();
        rows = tensor.shape()[0];
        append_tensor(text, tensor);
    }
    return nb::bytes(text.data(), text.size());
}

void bind_stacking(nb::module_& m) {
    m.def("answers_of_rows", &answers_of_rows, nb::arg("output_tensors"), nb::arg("rows"),
          nb::kw_only(), nb::arg("parameters_json"), nb::arg("headers"),
          nb::sig("def answers_of_rows(output_tensors: list[Tensor], rows: "
                  "collections.abc.Sequence[int], *, parameters_json: str, headers: bytes) -> "
                  "list[InferenceResponse] | None"),
          "The answer to each request, which has so many rows, out of the outputs for all; None "
          "where an output has not a row for each.");
}

}  // namespace mpserve::bind
