#include "answer_object.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

nb::tuple shape_tuple(std::span<const std::int64_t> shape) {
    nb::list dimensions;
    for (const auto dimension : shape) dimensions.append(dimension);
    return nb::tuple(dimensions);
}

void read_outputs(AnswerObject& object, Answer& answer) {
    const auto& response = *answer.response;
    auto borrow = std::make_shared<SharedBorrow>(std::move(*answer.block));
    *answer.block = {};
    for (std::uint32_t index = 0; index < response.tensor_count(); ++index) {
        const auto tensor = response.tensor(index);
        // What lies in the client's region is the client's to read.
        const bool is_here = tensor.region == 0;
        object.outputs.append(nb::cast(OutputTensor{
            .name = std::string(tensor.name),
            .datatype = std::string(datatype_name(tensor.datatype)),
            .shape = shape_tuple(tensor.shape),
            .parameters = std::string(tensor.parameters),
            .data = lent_memoryview(borrow, is_here ? tensor.data : response.base(),
                                    is_here ? tensor.data_bytes : 0),
        }));
    }
}

}  // namespace

nb::object make_answer_object(Answer& answer) {
    auto object = std::make_unique<AnswerObject>();
    object->code = static_cast<std::uint32_t>(answer.status);
    object->final = answer.final;
    object->is_mark = answer.status == Status::ok && answer.response == nullptr;
    object->wants_input = answer.wants_input;
    object->error.assign(answer.error);
    object->model_name = answer.route->model_name;
    object->model_version = answer.route->model_version;
    if (answer.request != nullptr) {
        object->request_id.assign(answer.request->text(answer.request->header().id));
    }
    if (const auto* completion = answer.completion; completion != nullptr) {
        object->popped_ns = completion->popped_ns;
        object->input_ns = completion->input_ns;
        object->execute_ns = completion->execute_ns;
        object->output_ns = completion->output_ns;
    }
    if (answer.response != nullptr) {
        object->parameters.assign(answer.response->text(answer.response->header().parameters));
        object->headers.assign(answer.response->text(answer.response->header().headers));
        read_outputs(*object, answer);
    }
    return nb::cast(std::move(object));
}

void CallbackSink::on_answer(std::uint64_t, Answer& answer) {
    const auto callback = answer.final ? std::exchange(callback_, {}) : callback_;
    callback(make_answer_object(answer));
}

void bind_answer_object(nb::module_& m) {
    nb::class_<OutputTensor>(m, "OutputTensor", "One output of an answer.")
        .def_ro("name", &OutputTensor::name)
        .def_ro("datatype", &OutputTensor::datatype)
        .def_ro("shape", &OutputTensor::shape,
                nb::for_getter(nb::sig("def shape(self, /) -> tuple[int, ...]")))
        .def_ro("parameters_json", &OutputTensor::parameters)
        .def_ro("data", &OutputTensor::data,
                nb::for_getter(nb::sig("def data(self, /) -> memoryview")),
                "Read-only memoryview into shared memory; BYTES in binary form.");
    nb::class_<AnswerObject>(m, "Answer", "A finished request.")
        .def_ro("code", &AnswerObject::code, "`ErrorCode` value; 0 when it succeeded.")
        .def_ro("error", &AnswerObject::error)
        .def_ro("final", &AnswerObject::final, "No more answers follow.")
        .def_ro("is_mark", &AnswerObject::is_mark, "No answer, only the mark that none follow.")
        .def_ro("wants_input", &AnswerObject::wants_input,
                "No answer: the next request of the stream may be sent.")
        .def_ro("request_id", &AnswerObject::request_id)
        .def_ro("parameters_json", &AnswerObject::parameters)
        .def_prop_ro(
            "headers",
            [](const AnswerObject& self) {
                return nb::bytes(self.headers.data(), self.headers.size());
            },
            "Headers that the model wants with it: name, NUL, value, NUL each.")
        .def_ro("model_name", &AnswerObject::model_name)
        .def_ro("model_version", &AnswerObject::model_version)
        .def_prop_ro(
            "times",
            [](const AnswerObject& self) {
                return nb::make_tuple(self.popped_ns, self.input_ns, self.execute_ns,
                                      self.output_ns);
            },
            nb::sig("def times(self) -> tuple[int, int, int, int]"),
            "When an instance took the request, 0 for never (monotonic clock), and the nanoseconds "
            "that input, execution and output took.")
        .def_ro("outputs", &AnswerObject::outputs,
                nb::for_getter(nb::sig("def outputs(self, /) -> list[OutputTensor]")));
    nb::class_<CallbackSink>(m, "CallbackSink", "Holds the callback of a request in flight.");
}

}  // namespace mpserve::bind
