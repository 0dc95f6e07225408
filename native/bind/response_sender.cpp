#include "response_sender.hpp"

#include "inference_request.hpp"
#include "inference_response.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

void send(const ResponseSender& self, nb::object response, std::uint32_t flags) {
    if (!response.is_none() && !nb::isinstance<InferenceResponse>(response)) {
        const std::string text =
            std::string("response must be an InferenceResponse or None, found type ") +
            nb::str(response.type()).c_str();
        throw nb::type_error(text.c_str());
    }
    auto* request = nb::inst_ptr<InferenceRequest>(self.request);
    auto* lease = request->lease();
    if (lease != nullptr && lease->is_stream()) {
        if (request->watcher().is_valid() && !response.is_none()) request->watcher()(response);
        lease->send(*request, response, flags);
    } else {
        request->send(std::move(response), flags);
    }
}

bool is_cancelled(const ResponseSender& self) {
    const auto* lease = nb::inst_ptr<InferenceRequest>(self.request)->lease();
    return lease != nullptr && lease->is_cancelled();
}

nb::object sent_response(const InferenceRequest& request) {
    return request.sent_response().is_valid() ? request.sent_response() : nb::none();
}

bool answers_all(nb::handle answered, nb::handle asked) {
    if (!nb::isinstance<nb::list>(answered) || !nb::isinstance<nb::list>(asked)) return false;
    const auto results = nb::borrow<nb::list>(answered);
    const auto requests = nb::borrow<nb::list>(asked);
    const std::size_t count = nb::len(requests);
    if (nb::len(results) != count) return false;
    for (std::size_t index = 0; index < count; ++index) {
        const nb::handle request = requests[index];
        if (!nb::isinstance<InferenceResponse>(results[index])) return false;
        if (nb::isinstance<InferenceRequest>(request) &&
            nb::inst_ptr<InferenceRequest>(request)->is_rescheduled()) {
            return false;
        }
    }
    return true;
}

}  // namespace

void bind_response_sender(nb::module_& m) {
    nb::class_<ResponseSender>(m, "InferenceResponseSender", "Sends the answer of one request.")
        .def("send", &send, nb::arg("response") = nb::none(), nb::arg("flags") = 0)
        .def("is_cancelled", &is_cancelled);
    m.def(
        "has_room",
        [](const ResponseSender& self) {
            auto* lease = nb::inst_ptr<InferenceRequest>(self.request)->lease();
            return lease == nullptr || lease->has_room();
        },
        nb::arg("sender"), "Whether `send` would not wait until its answers are read.");
    m.def(
        "ask_input",
        [](const ResponseSender& self) {
            auto* lease = nb::inst_ptr<InferenceRequest>(self.request)->lease();
            if (lease != nullptr) lease->ask_input();
        },
        nb::arg("sender"), "Let the next request of a stream come.");
    m.def(
        "take_input",
        [](const ResponseSender& self) {
            auto* lease = nb::inst_ptr<InferenceRequest>(self.request)->lease();
            if (lease == nullptr) throw nb::stop_iteration();
            return lease->take_input();
        },
        nb::arg("sender"),
        nb::sig("def take_input(sender: InferenceResponseSender) -> InferenceRequest | None"),
        "The next request of a stream that was asked for, None when it has not come yet. Raises "
        "StopIteration when the client has sent all.");
    m.def("sent_response", &sent_response, nb::arg("request"),
          "Answer that a model sent by the request's response sender, None when it sent none.");
    m.def("answers_all", &answers_all, nb::arg("results").none(), nb::arg("requests"),
          nb::sig("def answers_all(results: object, requests: object) -> bool"),
          "Two lists: there is an answer to each request, and none of them is wanted once more.");
}

}  // namespace mpserve::bind
