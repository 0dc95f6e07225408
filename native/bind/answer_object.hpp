// A finished request as Python sees it, and the sink that makes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>

#include "dispatcher.hpp"
#include "lent_bytes.hpp"

namespace mpserve::bind {

// What a Python callback is called with. Its outputs look into the worker's arena.
struct AnswerObject {
    std::uint32_t code = 0;
    bool final = true;
    bool is_mark = false;
    bool wants_input = false;
    std::string error;
    std::string request_id;
    std::string parameters;
    std::string headers;  // name NUL value NUL, each
    std::string model_name;
    std::string model_version;
    std::uint64_t popped_ns = 0;
    std::uint64_t input_ns = 0;
    std::uint64_t execute_ns = 0;
    std::uint64_t output_ns = 0;
    nanobind::list outputs;  // OutputTensor each
};

struct OutputTensor {
    std::string name;
    std::string datatype;
    nanobind::tuple shape;
    std::string parameters;
    nanobind::object data;  // read-only memoryview
};

// Takes the response's block over: the object's outputs look into it.
nanobind::object make_answer_object(Answer& answer);

// Calls `callback(AnswerObject)` once.
class CallbackSink final : public AnswerSink {
public:
    explicit CallbackSink(nanobind::object callback) : callback_(std::move(callback)) {}
    void on_answer(std::uint64_t tag, Answer& answer) override;

private:
    nanobind::object callback_;
};

void bind_answer_object(nanobind::module_& m);

}  // namespace mpserve::bind
