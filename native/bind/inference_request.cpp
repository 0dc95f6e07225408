#include "inference_request.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "inference_trace.hpp"
#include "model_exception.hpp"
#include "model_text.hpp"
#include "parameters.hpp"
#include "response_sender.hpp"
#include "stacking.hpp"
#include "tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kModelVisibleFlags = kSequenceStart | kSequenceEnd;
constexpr std::uint32_t kCompleteFinal = 1;      // TRITONSERVER_RESPONSE_COMPLETE_FINAL
constexpr std::uint32_t kReleaseAll = 1;         // TRITONSERVER_REQUEST_RELEASE_ALL
constexpr std::uint32_t kReleaseReschedule = 2;  // TRITONSERVER_REQUEST_RELEASE_RESCHEDULE

nb::object make_input(LeaseRef lease, const TensorView& view, const InstanceContext& context) {
    nb::object instance = nb::inst_alloc(nb::type<Tensor>());
    auto* place = nb::inst_ptr<Tensor>(instance);
    if (const auto* reshape = find_reshape(context.input_reshapes, view.name)) {
        new (place) Tensor(std::move(lease), view, *reshape);
    } else {
        new (place) Tensor(std::move(lease), view);
    }
    nb::inst_mark_ready(instance);
    return instance;
}

}  // namespace

InferenceRequest::InferenceRequest(LeaseRef lease, const MessageView& view,
                                   std::shared_ptr<const InstanceContext> context) noexcept
    : lease_(std::move(lease)),
      view_(view),
      context_(std::move(context)),
      flags_(view.header().flags & kModelVisibleFlags) {}

InferenceRequest InferenceRequest::row_filler(
    LeaseRef lease, const MessageView& view,
    std::shared_ptr<const InstanceContext> context) noexcept {
    InferenceRequest filler(std::move(lease), view, std::move(context));
    filler.is_filler_ = true;
    filler.flags_ = 0;
    return filler;
}

InferenceRequest::InferenceRequest(OwnedRequest owned, nb::list inputs, std::uint32_t flags)
    : owned_(std::make_unique<OwnedRequest>(std::move(owned))),
      inputs_(std::move(inputs)),
      flags_(flags) {}

std::string_view InferenceRequest::request_id() const noexcept {
    if (is_filler_) return {};
    return view_ ? view_->text(view_->header().id) : std::string_view(owned_->request_id);
}

std::string_view InferenceRequest::parameters() const noexcept {
    if (!view_) return owned_->parameters;
    if (is_filler_) return context_->absent_parameters;
    const auto given = view_->text(view_->header().parameters);
    return given.empty() ? std::string_view(context_->absent_parameters) : given;
}

std::string_view InferenceRequest::output_parameters(std::string_view output_name) const noexcept {
    if (!view_) return {};
    for (std::uint32_t index = 0; index < view_->output_count(); ++index) {
        const auto output = view_->output(index);
        if (output.name == output_name) return output.parameters;
    }
    return {};
}

std::uint64_t InferenceRequest::timeout_us() const noexcept {
    if (is_filler_) return 0;
    return view_ ? view_->header().timeout_us : owned_->timeout_us;
}

bool InferenceRequest::wants_output(std::string_view output_name) const noexcept {
    if (!view_ || context_->open_outputs) return true;
    if (!context_->declares_output(output_name)) return false;
    const auto count = view_->output_count();
    for (std::uint32_t index = 0; index < count; ++index) {
        if (view_->output(index).name == output_name) return true;
    }
    return count == 0;
}

OutputView InferenceRequest::region_of(std::string_view output_name) const noexcept {
    for (std::uint32_t index = 0; view_ && index < view_->output_count(); ++index) {
        const auto output = view_->output(index);
        if (output.region != 0 && output.name == output_name) return output;
    }
    return {};
}

nb::list InferenceRequest::inputs() {
    if (!inputs_.is_valid()) {
        nb::list inputs;
        const auto count = view_->tensor_count();
        for (std::uint32_t index = 0; index < count; ++index) {
            auto tensor = view_->tensor(index);
            if (tensor.region != 0) {
                tensor.data =
                    lease_->region_at(tensor.region, tensor.data_offset, tensor.data_bytes);
            }
            inputs.append(make_input(lease_, tensor, *context_));
        }
        for (const auto& control : context_->controls)
            inputs.append(make_control(control, *view_, !is_filler_));
        inputs_ = std::move(inputs);
    }
    return nb::borrow<nb::list>(inputs_);
}

void InferenceRequest::put_input(nb::object tensor) {
    auto inputs = this->inputs();
    const auto name = nb::cast<Tensor&>(tensor).name();
    for (std::size_t index = 0; index < nb::len(inputs); ++index) {
        if (nb::inst_ptr<Tensor>(inputs[index])->name() == name) {
            inputs[index] = std::move(tensor);
            return;
        }
    }
    inputs.append(std::move(tensor));
}

void InferenceRequest::send(nb::object response, std::uint32_t response_flags) {
    if (response_flags != 0 && response_flags != kCompleteFinal) {
        throw ModelException("Unable to send response. Unsupported flag provided.");
    }
    if (response.is_none() && response_flags == 0) {
        throw ModelException(
            "Inference Response object must be provided when the response flags is set to zero.");
    }
    if (!response.is_none() && sent_response_.is_valid()) {
        throw ModelException(
            "Unable to send response. Non-decoupled model cannot send more than one response.");
    }
    if (response.is_none() && !sent_response_.is_valid()) {
        throw ModelException(
            "Unable to send response. Non-decoupled model cannot send complete final before "
            "sending a "
            "response.");
    }
    if (sender_closed_) {
        throw ModelException("Unable to send response. Response sender has been closed.");
    }
    sender_closed_ = response_flags == kCompleteFinal;
    if (!response.is_none()) sent_response_ = std::move(response);
}

nb::object make_request(LeaseRef lease, const MessageView& view,
                        std::shared_ptr<const InstanceContext> context) {
    nb::object instance = nb::inst_alloc(nb::type<InferenceRequest>());
    new (nb::inst_ptr<InferenceRequest>(instance))
        InferenceRequest(std::move(lease), view, std::move(context));
    nb::inst_mark_ready(instance);
    return instance;
}

nb::object make_row_filler(LeaseRef lease, const MessageView& view,
                           std::shared_ptr<const InstanceContext> context) {
    nb::object instance = nb::inst_alloc(nb::type<InferenceRequest>());
    new (nb::inst_ptr<InferenceRequest>(instance))
        InferenceRequest(InferenceRequest::row_filler(std::move(lease), view, std::move(context)));
    nb::inst_mark_ready(instance);
    return instance;
}

namespace {

// Slot and number of the sequence as the instance holds it; None for a row without a request.
nb::object sequence_place(const InferenceRequest& request) {
    if (request.lease() == nullptr) return nb::none();
    const auto place = request.lease()->sequence_place();
    if (place.serial == 0) return nb::none();
    return nb::make_tuple(place.slot, place.serial);
}

// The model may change its list; ours stays.
nb::object copy_of(const nb::list& list) {
    return nb::steal(PyList_GetSlice(list.ptr(), 0, PY_SSIZE_T_MAX));
}

InferenceTrace trace_of(const InferenceRequest& request) {
    if (request.is_filler()) return {};
    const auto* view = request.view();
    const auto text = view != nullptr ? view->text(view->header().trace_context)
                                      : std::string_view(request.owned()->trace_context);
    return {.link = std::string(text)};
}

nb::bytes headers_of(const InferenceRequest& request) {
    if (request.is_filler()) return nb::bytes("", 0);
    const auto* view = request.view();
    const auto text = view != nullptr ? view->text(view->header().headers) : std::string_view{};
    return nb::bytes(text.data(), text.size());
}

bool is_marked(const InferenceRequest& request, std::uint32_t mark) noexcept {
    return request.view() != nullptr && (request.view()->header().flags & mark) != 0;
}

nb::object correlation_id(const InferenceRequest& request) {
    if (request.is_filler()) return nb::int_(0);
    const auto* view = request.view();
    const auto text =
        view != nullptr ? view->text(view->header().sequence_text) : request.owned()->sequence_text;
    if (!text.empty()) return nb::str(text.data(), text.size());
    return nb::int_(view != nullptr ? view->header().sequence_id : request.owned()->sequence_id);
}

// A request that lists none asks for all that are declared; each asks for the outputs that the
// server keeps.
nb::list requested_output_names(const InferenceRequest& request) {
    nb::list names;
    if (const auto* owned = request.owned(); owned != nullptr) {
        for (const auto& name : owned->requested_output_names) names.append(name);
        return names;
    }
    const auto* view = request.view();
    for (std::uint32_t index = 0; index < view->output_count(); ++index) {
        names.append(view->output(index).name);
    }
    if (view->output_count() == 0) {
        for (const auto& name : request.context()->output_names) names.append(name);
    }
    for (const auto& name : request.context()->state_outputs) {
        if (!PySequence_Contains(names.ptr(), nb::str(name.data(), name.size()).ptr()))
            names.append(name);
    }
    return names;
}

nb::object input_by_name(InferenceRequest& request, std::string_view name) {
    for (const nb::handle input : request.inputs()) {
        if (nb::inst_ptr<Tensor>(input)->name() == name) return nb::borrow(input);
    }
    return nb::none();
}

void set_correlation_id(OwnedRequest& owned, nb::handle correlation) {
    if (PyUnicode_Check(correlation.ptr())) {
        owned.sequence_text = nb::cast<std::string>(correlation);
    } else if (PyLong_Check(correlation.ptr())) {
        owned.sequence_id = nb::cast<std::uint64_t>(correlation);
    } else {
        throw ModelException("Correlation ID must be integer or string");
    }
}

nb::list checked_inputs(nb::handle inputs) {
    nb::list checked;
    for (const nb::handle input : inputs) {
        if (!nb::isinstance<Tensor>(input)) {
            const std::string text = std::string("inputs must hold Tensor objects, found type ") +
                                     nb::str(input.type()).c_str();
            throw nb::type_error(text.c_str());
        }
        checked.append(input);
    }
    return checked;
}

// The constructor that models use for requests of their own. Where the answer is put
// (`preferred_memory`) means nothing to requests that stay on the CPU.
void init_owned(InferenceRequest* self, ModelText request_id, nb::handle correlation,
                nb::handle inputs, std::vector<ModelText> requested_output_names,
                ModelText model_name, std::int64_t model_version, std::uint32_t flags,
                std::uint64_t timeout, nb::handle /*preferred_memory*/, nb::handle trace,
                nb::handle parameters) {
    OwnedRequest owned;
    owned.request_id = std::move(request_id.value);
    set_correlation_id(owned, correlation);
    owned.parameters = parameters_to_json(parameters);
    owned.requested_output_names.reserve(requested_output_names.size());
    for (auto& name : requested_output_names) {
        owned.requested_output_names.push_back(std::move(name.value));
    }
    owned.model_name = std::move(model_name.value);
    owned.model_version = model_version;
    owned.timeout_us = timeout;
    if (!trace.is_none()) {
        owned.trace_context = nb::cast<const InferenceTrace&>(trace).link;
    }
    new (self) InferenceRequest(std::move(owned), checked_inputs(inputs), flags);
}

void set_release_flags(InferenceRequest& request, std::uint32_t flags) {
    if (flags != kReleaseAll && flags != kReleaseReschedule) {
        throw ModelException("Unable to set release flags. Unsupported flag provided.");
    }
    if (request.view() == nullptr) {
        throw ModelException(
            "Unable to set release flags. Only a request that the model was given can be "
            "rescheduled.");
    }
    request.reschedule(flags == kReleaseReschedule);
}

// Requests to other models are the Python side's: it routes, and waits.
nb::object call_models(const char* how, nb::handle request, bool decoupled) {
    return nb::module_::import_("mpserve.compat.triton_bls").attr(how)(request, decoupled);
}

// (name, version) of the model that a made request is for; None for one that was received.
nb::object target_of(const InferenceRequest& request) {
    const auto* owned = request.owned();
    if (owned == nullptr) return nb::none();
    return nb::make_tuple(owned->model_name, owned->model_version);
}

}  // namespace

void bind_inference_request(nb::module_& m) {
    nb::class_<InferenceRequest>(m, "InferenceRequest", "One request, received or made by a model.")
        .def("__init__", &init_owned, nb::arg("request_id") = "", nb::arg("correlation_id") = 0,
             nb::arg("inputs"), nb::arg("requested_output_names"), nb::arg("model_name"),
             nb::arg("model_version") = -1, nb::arg("flags") = 0, nb::arg("timeout") = 0,
             nb::arg("preferred_memory") = nb::none(), nb::arg("trace") = nb::none(),
             nb::arg("parameters") = nb::none())
        .def("inputs", [](InferenceRequest& self) { return copy_of(self.inputs()); })
        .def("request_id", &InferenceRequest::request_id)
        .def("correlation_id", &correlation_id,
             "Sequence id: an int, or a str when it was sent as text.")
        .def("flags", &InferenceRequest::flags)
        .def("set_flags", &InferenceRequest::set_flags, nb::arg("flags"))
        .def("timeout", &InferenceRequest::timeout_us, "Timeout in microseconds, 0 for none.")
        .def("parameters", &InferenceRequest::parameters, "Custom parameters as JSON text.")
        .def("requested_output_names", &requested_output_names)
        .def("likeness", &likeness, nb::sig("def likeness(self) -> bytes | None"),
             "Equal for requests that differ in nothing but their rows; None without rows.")
        .def("output_parameters_json", &InferenceRequest::output_parameters, nb::arg("name"))
        .def(
            "takes_many", [](const InferenceRequest& self) { return is_marked(self, kTakesMany); },
            "The client takes any number of answers.")
        .def(
            "has_more_inputs",
            [](const InferenceRequest& self) { return is_marked(self, kMoreInputs); },
            "It is the first of a stream of requests.")
        .def(
            "is_handler_call",
            [](const InferenceRequest& self) { return is_marked(self, kHandlerCall); },
            "For a handler of a path of the model's own.")
        .def("headers", &headers_of,
             "Headers that it came with: name, NUL, value, NUL each; empty where nobody asked.")
        .def("trace", &trace_of)
        .def("get_response_sender",
             [](nb::handle self) { return ResponseSender{nb::borrow(self)}; })
        .def("is_cancelled",
             [](const InferenceRequest& self) {
                 return self.lease() != nullptr && self.lease()->is_cancelled();
             })
        .def("set_release_flags", &set_release_flags, nb::arg("flags"))
        .def(
            "exec",
            [](nb::handle self, bool decoupled) { return call_models("execute", self, decoupled); },
            nb::arg("decoupled") = false, "Let another model answer; wait for it.")
        .def(
            "async_exec",
            [](nb::handle self, bool decoupled) {
                return call_models("execute_async", self, decoupled);
            },
            nb::arg("decoupled") = false, "Let another model answer; `await` it.");
    m.def(
        "is_rescheduled",
        [](nb::handle request) {
            return nb::isinstance<InferenceRequest>(request) &&
                   nb::inst_ptr<InferenceRequest>(request)->is_rescheduled();
        },
        nb::arg("request"), "The model wants to be given the request once more.");
    m.def("request_target", &target_of, nb::arg("request"),
          nb::sig("def request_target(request: InferenceRequest) -> tuple[str, int] | None"),
          "Name and version (-1: the default) of the model that a request made by a model is for.");
    m.def("put_input", &InferenceRequest::put_input, nb::arg("request"), nb::arg("tensor"),
          "Add an input that the client did not send, in the place of one of its name.");
    m.def("watch_answers", &InferenceRequest::watch_answers, nb::arg("request"), nb::arg("watcher"),
          nb::sig("def watch_answers(request: InferenceRequest, watcher: "
                  "collections.abc.Callable[[InferenceResponse], None]) -> None"),
          "Call `watcher` with each answer that a decoupled model sends, before it is sent.");
    m.def("sequence_place", &sequence_place, nb::arg("request"),
          "(slot, number) of the sequence as the instance holds it; None without one.");
    m.def("get_input_tensor_by_name", &input_by_name, nb::arg("inference_request"),
          nb::arg("name"));
}

}  // namespace mpserve::bind
